"""CIT-Rec (Li, Chen, Fu, Mo & Li 2026): user and item tokens in the prompt of a LoRA-tuned language model.

1. A user is the state of a sequential recommender before the judged row (eq. 1); an item is its aligned picture and
   text (eq. 3 to 5). Both are vectors that others made; ``Vectors`` holds them.
2. A trained map turns each into one input embedding of the language model (eq. 2 and 5), which takes the place of one
   token of the prompt (``cit_rec_prompts.py``).
3. Adapter and maps learn together to answer Yes or No (eq. 6).
4. A row's score is the log-odds of Yes against No where the answer begins: the logit of eq. 7, in which no two rows
   tie by rounding.

Variants leave a part out (``registry.py``); the two that tune nothing are ``plain_network.py`` and ``zero_shot.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.errors import WeftError
from weft.evaluation.metrics import auc
from weft.language import choices
from weft.language.local import LocalModel
from weft.progress import NoProgress, Progress
from weft.systems.cit_rec_prompts import USER
from weft.training.loop import Validation
from weft.training.runtime import Runtime
from weft.tuning.answers import Rows, need_room, tune
from weft.tuning.settings import TuningSettings
from weft.tuning.soft_tokens import SoftTokens, scale_of

YES, NO = CHOICES = (("Yes", " Yes"), ("No", " No"))
"""The two answers, each with its wordings, whose probabilities add up."""

SYSTEM = "cit_rec"
_SELECTING = 2_000  # validation rows that pick the epoch: judging more would cost more than learning
_FLAT = 1e-6  # least standard deviation of a column that says anything
_AT_ONCE = 2_048  # rows whose ids and vectors lie in memory at once


@dataclass(frozen=True)
class Vectors:
    """What users and items are, before any map.

    Attributes:
        row: int64 [n], sorted: rows that have a user state.
        user: float32 [n, d], the state of each (``behaviour.user_states``).
        item: float32 [n_items + 1, d'], row 0 unused (``alignment.aligned_items``), every column with mean 0 and
            standard deviation 1 over the catalogue: mean hidden states of texts have most of their length in common,
            and what tells items apart would be lost beside it. An item without a vector (of a text, where the
            catalogue has none) stands at that mean, 0.
    """

    row: NDArray[np.int64]
    user: NDArray[np.float32]
    item: NDArray[np.float32]

    @classmethod
    def of(cls, states: pl.DataFrame, items: pl.DataFrame, n_items: int) -> Vectors:
        """From tables of ``row`` and ``vector``, and of ``item`` and ``vector``.

        Raises:
            WeftError: If no item has a vector.
        """
        states = states.sort("row")
        if items.is_empty():
            raise WeftError("no item has a vector", "use a data set with titles, and make content.llm_embeddings again")
        number, vectors = items["item"].to_numpy(), items["vector"].to_numpy()
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(vectors), _AT_ONCE)]
        mean = vectors.mean(axis=0, dtype=np.float64)
        deviation = np.sqrt(sum(((vectors[part] - mean) ** 2).sum(axis=0) for part in parts) / len(vectors))
        table = np.zeros((n_items + 1, vectors.shape[1]), np.float32)
        for part in parts:  # float64 for a few items at a time: a catalogue of it would be as large as three more
            table[number[part]] = (vectors[part] - mean) / np.maximum(deviation, _FLAT)
        return cls(states["row"].to_numpy(), states["vector"].to_numpy().astype(np.float32), table)

    @property
    def tables(self) -> dict[str, NDArray[np.float32]]:
        """By kind, for ``SoftTokens``: kind 0 is the user, kind 1 the item."""
        return {"user": self.user, "item": self.item}

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the states of ``rows`` stand.

        Raises:
            WeftError: If a row has none.
        """
        found = np.searchsorted(self.row, rows)
        if len(rows) and (not len(self.row) or (self.row[np.minimum(found, len(self.row) - 1)] != rows).any()):
            raise WeftError("a judged row has no user state", "make behaviour.user_states and the prompts again")
        return found

    def slots(self, prompts: pl.DataFrame) -> list[NDArray[np.int64]]:
        """For each prompt int64 [its slots, 2]: kind and row of every vector, in order."""
        made = []
        told = prompts["slots"].to_list()
        used = [USER in slots for slots in told]
        places = np.zeros(len(prompts), np.int64)
        places[used] = self.places(prompts["row"].to_numpy()[used])
        for place, slots in zip(places.tolist(), told, strict=True):
            pairs = [(0, place) if slot == USER else (1, slot) for slot in slots]
            made.append(np.array(pairs, np.int64).reshape(-1, 2))
        return made


def fit(
    model: LocalModel, prompts: pl.DataFrame, vectors: Vectors | None, settings: TuningSettings, runtime: Runtime
) -> tuple[SoftTokens | None, pl.DataFrame]:
    """Tunes ``model`` in place on the training rows; AUC on a sample of the validation rows picks the epoch.

    Args:
        model: Without an adapter; holds the fitted one afterwards.
        prompts: Schema ``CitRecPrompts``, of all splits.
        vectors: Of users and items; None where no prompt has a slot.
        settings: Adapter and schedule.
        runtime: Seed, resume folder, progress.

    Returns:
        The maps of the soft tokens (None without vectors), and the history (schema ``TrainingHistory``).

    Raises:
        RequestError: If a prompt is longer than the model reads.
    """
    tokens = None
    if vectors is not None:
        tokens = SoftTokens(vectors.tables, model.width, scale_of(model.input_embeddings()), runtime.seed)
    train = prompts.filter(split="train")
    answers = [model.tokens.answer(YES[0] if label else NO[0]) for label in train["label"]]
    rows = Rows(_ids(model, train), _slots(train, vectors), answers)
    held = prompts.filter(split="validation")
    held = held[np.sort(np.random.default_rng(runtime.seed).permutation(len(held))[:_SELECTING])]
    judged = _Judged.of(model, held, vectors)
    for _ in _in_parts(model, prompts.filter(split="test"), vectors):
        pass  # what cannot be read is refused now, not after the tuning

    def measure() -> float:
        return float(auc(held["label"].to_numpy(), judged.scores(model, tokens))[0])

    validation = Validation("auc", measure) if held["label"].n_unique() == 2 else None
    return tokens, tune(model, rows, tokens, settings, runtime, validation)


def score(
    model: LocalModel,
    prompts: pl.DataFrame,
    vectors: Vectors | None,
    tokens: SoftTokens | None,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Log-odds of Yes against No of every prompt, float64 [n].

    Args:
        model: With its adapter.
        prompts: Schema ``CitRecPrompts``.
        vectors: Of users and items.
        tokens: The fitted maps, over the tables of ``vectors``.
        progress: Who watches.

    Raises:
        RequestError: If a prompt is longer than the model reads.
    """
    with (progress or NoProgress()).step("scoring prompts", len(prompts), "prompts") as step:
        parts = [part.scores(model, tokens, step.advance) for part in _in_parts(model, prompts, vectors)]
    return np.concatenate(parts) if parts else np.zeros(0)


@dataclass(frozen=True)
class _Judged:
    """Prompts as the model reads them."""

    ids: list[list[int]]
    slots: list[NDArray[np.int64]]
    wordings: list[list[list[int]]]

    @classmethod
    def of(cls, model: LocalModel, prompts: pl.DataFrame, vectors: Vectors | None) -> _Judged:
        ids, wordings = _ids(model, prompts), [[model.tokens.answer(text) for text in choice] for choice in CHOICES]
        longest = max(len(wording) for choice in wordings for wording in choice)
        need_room(model, max(map(len, ids), default=0) + longest)
        return cls(ids, _slots(prompts, vectors), wordings)

    def scores(
        self, model: LocalModel, tokens: SoftTokens | None, advance: Callable[[int], object] = lambda _: None
    ) -> NDArray[np.float64]:
        said = choices.log_probabilities(
            model.model, self.ids, self.wordings, vectors=self._vectors(tokens), advance=advance
        )
        return said[:, 0] - said[:, 1]

    def _vectors(self, tokens: SoftTokens | None) -> list[NDArray[np.float32] | None] | None:
        if tokens is None or not self.slots:
            return None
        # Each vector is computed once, however many prompts hold it.
        stacked = np.concatenate(self.slots)
        distinct, inverse = np.unique(stacked, axis=0, return_inverse=True)
        embedded = tokens.vectors(distinct)[inverse.reshape(-1)]
        return list(np.split(embedded, np.cumsum([len(slots) for slots in self.slots])[:-1]))


def _in_parts(model: LocalModel, prompts: pl.DataFrame, vectors: Vectors | None) -> Iterator[_Judged]:
    for start in range(0, len(prompts), _AT_ONCE):
        yield _Judged.of(model, prompts[start : start + _AT_ONCE], vectors)


def _ids(model: LocalModel, prompts: pl.DataFrame) -> list[list[int]]:
    return [model.final(prompt) for prompt in prompts["messages"].to_list()]


def _slots(prompts: pl.DataFrame, vectors: Vectors | None) -> list[NDArray[np.int64]]:
    return [np.zeros((0, 2), np.int64)] * len(prompts) if vectors is None else vectors.slots(prompts)
