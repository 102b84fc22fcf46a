"""A few rows of learnable prompts for tiny models of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.language.conftest import tiny_model, tiny_tokenizer
from weft.language.engine import Identity
from weft.language.local import LocalModel
from weft.language.tokens import SLOT_ID
from weft.tuning.answers import Rows
from weft.tuning.settings import TuningSettings
from weft.tuning.soft_tokens import SoftTokens, scale_of

KINDS = ("llama", "qwen2")
YES, NO = 40, 41
SETTINGS = TuningSettings(rank=4, alpha=8, epochs=3, patience=0, batch=8, learning_rate=3e-3)


def tiny(kind: str = "llama") -> LocalModel:
    """A model of its own for every test: tuning changes it."""
    tokenizer = tiny_tokenizer(kind)
    return LocalModel(tiny_model(kind, tokenizer), tokenizer, Identity(f"tiny-{kind}"))


def tables(seed: int = 0) -> dict[str, np.ndarray]:
    """Vectors of 6 users and 9 items; whether a user likes an item, the sign of one product tells."""
    rng = np.random.default_rng(seed)
    return {"user": rng.normal(size=(6, 3)).astype(np.float32), "item": rng.normal(size=(9, 5)).astype(np.float32)}


def soft_tokens(model: LocalModel, seed: int = 0) -> SoftTokens:
    return SoftTokens(tables(), model.width, scale_of(model.input_embeddings()), seed)


def rows(n: int = 40, *, slots: bool = True, seed: int = 0, answers: tuple[tuple[int, ...], ...] | None = None) -> Rows:
    """Prompts of 4 to 20 tokens, two of which are vectors of a user and an item where ``slots`` says so."""
    rng = np.random.default_rng(seed)
    known = tables()
    prompts, named, said = [], [], []
    for _ in range(n):
        user, item = rng.integers(6), rng.integers(9)
        words = rng.integers(50, 300, rng.integers(2, 19)).tolist()
        prompts.append([*words[:2], SLOT_ID, *words[2:], SLOT_ID, 60] if slots else [*words, 60, 61])
        named.append(np.array([[0, user], [1, item]], np.int64) if slots else np.zeros((0, 2), np.int64))
        liked = known["user"][user, 0] * known["item"][item, 0] > 0
        said.append(answers[rng.integers(len(answers))] if answers else (YES,) if liked else (NO,))
    return Rows(prompts, named, said)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"
