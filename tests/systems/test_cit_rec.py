"""CIT-Rec on a tiny random model: what reaches the score, and how it is computed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from tests.language.conftest import tiny_folder
from weft.errors import RequestError, WeftError
from weft.evaluation.metrics import auc
from weft.language.local import LocalModel
from weft.language.tokens import SLOT
from weft.progress import LogProgress
from weft.schemas import CitRecPrompts
from weft.systems import cit_rec
from weft.systems.cit_rec import Vectors
from weft.training.runtime import Runtime
from weft.tuning.settings import TuningSettings
from weft.tuning.soft_tokens import SoftTokens

ITEMS = 12
QUICK = TuningSettings(epochs=3, patience=0, batch=32, learning_rate=0.01, rank=4)
CPU = Runtime(device="cpu", seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model") / "tiny", "llama")


def opened(folder: Path) -> LocalModel:
    return LocalModel.open(folder, device="cpu", dtype="float32")


def asked(text: str, slots: list[int], rows: int = 400, seed: int = 0) -> pl.DataFrame:
    """Prompts with one text; -1 in ``slots`` is the judged item."""
    rng = np.random.default_rng(seed)
    item = rng.integers(1, ITEMS + 1, rows)
    made = {
        "row": np.arange(rows),
        "split": ["train"] * (rows - 200) + ["validation"] * 100 + ["test"] * 100,
        "user": 1 + np.arange(rows) % 7,
        "item": item,
        "label": rng.random(rows) < 0.5,
        "prompt_version": ["of the test"] * rows,
        "messages": [[{"role": "user", "content": text}]] * rows,
        "slots": [[one if slot == -1 else slot for slot in slots] for one in item.tolist()],
    }
    return CitRecPrompts.cast(pl.DataFrame(made))


def vectors(prompts: pl.DataFrame, user: NDArray | None = None, item: NDArray | None = None) -> Vectors:
    rng = np.random.default_rng(1)
    user = rng.normal(size=(len(prompts), 5)) if user is None else user
    item = rng.normal(size=(ITEMS, 4)) if item is None else item

    def table(key: str, ids: NDArray, of: NDArray) -> pl.DataFrame:
        return pl.DataFrame({key: ids, "vector": pl.Series(of, dtype=pl.Array(pl.Float32, of.shape[1]))})

    states = table("row", prompts["row"].to_numpy(), user)
    return Vectors.of(states, table("item", np.arange(1, ITEMS + 1, dtype=np.int32), item), ITEMS)


def tuned(folder: Path, prompts: pl.DataFrame, of: Vectors) -> tuple[float, NDArray, LocalModel, SoftTokens]:
    """AUC on the test rows, their scores, and what was fitted."""
    model = opened(folder)
    tokens, _ = cit_rec.fit(model, prompts, of, QUICK, CPU)
    test = prompts.filter(split="test")
    scores = cit_rec.score(model, test, of, tokens)
    assert tokens is not None
    return float(auc(test["label"].to_numpy(), scores)[0]), scores, model, tokens


def test_what_the_users_state_tells_reaches_the_score(folder: Path) -> None:
    prompts = asked(f"{SLOT} Yes or No?", [0])
    told = np.where(prompts["label"], 1.0, -1.0)[:, None] * np.ones((1, 5)) + np.random.default_rng(2).normal(
        size=(len(prompts), 5), scale=0.3
    )
    assert tuned(folder, prompts, vectors(prompts, user=told))[0] > 0.95


def test_what_the_items_vector_tells_reaches_the_score_and_is_lost_when_vectors_are_shuffled(folder: Path) -> None:
    prompts = asked(f"A film {SLOT} ?", [-1]).with_columns(label=pl.col("item") % 2 == 0)
    parity = np.where(np.arange(1, ITEMS + 1) % 2, -1.0, 1.0)
    of = vectors(prompts, item=np.stack([parity, np.zeros(ITEMS), np.linspace(0, 1, ITEMS)], axis=1))
    value, scores, model, tokens = tuned(folder, prompts, of)
    assert value > 0.95
    test = prompts.filter(split="test")
    shuffled = Vectors(of.row, of.user, np.roll(of.item, 1, axis=0))
    other = SoftTokens.load(shuffled.tables, model.width, tokens.tensors())
    lost = cit_rec.score(model, test, shuffled, other)
    assert auc(test["label"].to_numpy(), lost)[0] < 0.5
    assert scores.shape == lost.shape


def test_vectors_swapped_between_two_items_change_their_rows_and_no_other(folder: Path) -> None:
    prompts = asked(f"A film {SLOT} by {SLOT}", [-1, 0])
    of = vectors(prompts)
    model, test = opened(folder), prompts.filter(split="test")
    tokens = SoftTokens(of.tables, model.width, 0.3, seed=0).eval()
    swapped = of.item.copy()
    swapped[[2, 5]] = swapped[[5, 2]]
    other = Vectors(of.row, of.user, swapped)
    mapped = SoftTokens.load(other.tables, model.width, tokens.tensors())
    changed = cit_rec.score(model, test, of, tokens) != cit_rec.score(model, test, other, mapped)
    assert changed.tolist() == test["item"].is_in([2, 5]).to_list()


def test_the_score_is_the_log_odds_of_yes_against_no_over_their_wordings(folder: Path) -> None:
    prompts = asked("A quiet film about the sea. Yes or No?", [])[:1]
    model = opened(folder)
    score = cit_rec.score(model, prompts, None, None)
    ids = model.final(prompts["messages"][0])

    def likely(text: str) -> float:
        said = model.tokens.answer(text)
        with torch.inference_mode():
            each = model.model(torch.tensor([ids + said])).logits[0].double().log_softmax(-1)
        return float(np.exp(sum(each[len(ids) - 1 + place, token].item() for place, token in enumerate(said))))

    odds = (likely("Yes") + likely(" Yes")) / (likely("No") + likely(" No"))
    np.testing.assert_allclose(score, [np.log(odds)], rtol=1e-4)


def test_whoever_watches_sees_every_prompt_scored_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(cit_rec, "_AT_ONCE", 30)
    prompts = asked("A quiet film. Yes or No?", [])[:70]
    watched = cit_rec.score(opened(folder), prompts, None, None, LogProgress(lines.append, interval=0))
    assert lines[-1].startswith("scoring prompts: 70 of 70 prompts")
    assert len(lines) > 3
    np.testing.assert_array_equal(watched, cit_rec.score(opened(folder), prompts, None, None))


def test_training_rows_teach_validation_rows_pick_the_epoch_and_test_rows_have_no_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = opened(folder), []
    monkeypatch.setattr(cit_rec, "tune", lambda _, rows, *others: seen.append((rows, others[-1])))
    told = [[{"role": "user", "content": f"Film {row}?"}] for row in range(400)]
    prompts = asked("", []).with_columns(messages=pl.Series(told))

    def handed(flipped: str) -> tuple[list[list[int]], list[list[int]], float]:
        label = pl.when(pl.col("split") == flipped).then(~pl.col("label")).otherwise("label")
        cit_rec.fit(model, prompts.with_columns(label=label), None, QUICK, CPU)
        rows, validation = seen[-1]
        assert validation.metric == "auc"
        return rows.prompts, rows.answers, validation.measure()

    texts, answers, value = handed("nothing")
    train, held = prompts.filter(split="train"), prompts.filter(split="validation")
    assert texts == [model.final(prompt) for prompt in train["messages"]]
    assert answers == [model.tokens.answer("Yes" if label else "No") for label in train["label"]]
    scores = cit_rec.score(model, held, None, None)
    assert value == pytest.approx(auc(held["label"].to_numpy(), scores)[0])
    assert handed("test") == (texts, answers, value)
    assert handed("validation") == (texts, answers, pytest.approx(1 - value))
    monkeypatch.setattr(cit_rec, "_SELECTING", 30)
    few = [handed("nothing")[2] for _ in range(2)]
    assert few[0] == few[1] != value, "a sample, and the same in every run"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_prompt_that_is_longer_than_the_model_reads_is_refused_before_anything_is_learnt(
    folder: Path, split: str
) -> None:
    model = opened(folder)
    assert model.model.config.max_position_embeddings == 512
    prompts, long = asked("Yes or No?", [], rows=210), [{"role": "user", "content": "sea " * 600}]
    one = prompts.filter(split=split)["row"][0]
    column = pl.Series([long if row == one else known for row, known in prompts.select("row", "messages").iter_rows()])
    prompts = prompts.with_columns(messages=column.cast(prompts.schema["messages"]))
    with pytest.raises(RequestError, match="tokens and the model reads 512"):
        cit_rec.fit(model, prompts, None, QUICK, CPU)
    assert not any("lora" in name for name, _ in model.model.named_parameters())
    with pytest.raises(RequestError, match="tokens and the model reads 512"):
        cit_rec.score(model, prompts.filter(row=one), None, None)


@pytest.mark.parametrize("at_once", [5, 2_048])
def test_item_vectors_are_spread_column_by_column_and_their_places_kept(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cit_rec, "_AT_ONCE", at_once)
    prompts = asked("", [])
    of = vectors(prompts, item=np.stack([np.arange(12.0), np.full(12, 7.0)], axis=1))
    expected = (np.arange(12) - 5.5) / np.sqrt(143 / 12)
    np.testing.assert_allclose(of.item[1:, 0], expected, rtol=1e-6)
    assert (of.item[:, 1] == 0).all()


def test_an_item_of_which_nothing_is_known_stands_at_the_mean_of_the_others() -> None:
    column = pl.Series([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]], dtype=pl.Array(pl.Float32, 2))
    states = pl.DataFrame({"row": [1], "vector": column[:1]})
    of = Vectors.of(states, pl.DataFrame({"item": [4, 1, 2], "vector": column}), 5)
    spread = np.sqrt((9 + 1 + 16) / 3)
    np.testing.assert_allclose(of.item[[4, 1, 2], 0], np.array([-3, -1, 4]) / spread, rtol=1e-6)
    assert not of.item[[0, 3, 5]].any()
    with pytest.raises(WeftError, match="no item has a vector"):
        Vectors.of(states, pl.DataFrame({"item": [4], "vector": column[:1]})[:0], 5)


def test_a_row_without_a_state_is_refused() -> None:
    prompts = asked("", [0])
    of = vectors(prompts)
    assert of.places(np.array([0, 399])).tolist() == [0, 399]
    with pytest.raises(WeftError, match="no user state"):
        of.places(np.array([3, 400]))
    with pytest.raises(WeftError, match="no user state"):
        Vectors(of.row[1:], of.user[1:], of.item).slots(prompts)
