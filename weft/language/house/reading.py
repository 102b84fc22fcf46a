"""What the house language model reads in an epoch, as batches of about equally many tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from weft.data.world import corpus
from weft.data.world.corpus import Lesson
from weft.data.world.works import works
from weft.language.house.settings import HouseLanguageSettings
from weft.language.house.tokenizer import ASSISTANT, END, START, USER

UNLABELLED = -100
_POOL = 16  # batches that are sorted by length together: larger pools pad less but mix less
_LONGEST = 8  # characters per token that are looked at, so that a text of a megabyte costs nothing


def lessons(settings: HouseLanguageSettings, catalogue: Sequence[str], seed: int, epoch: int) -> list[Lesson]:
    """All that is read in one epoch, in no order: on the works, and the catalogue's texts as they are.

    Epoch 0 dwells on the first few works, as often as makes up for the others. What finds a fact in the name of a work
    forms sooner on few works, and the others then only have to be filled in: the plateau of learning grows with the
    number of things to be known (Zucchet et al. 2025, How do language models learn facts?).
    """
    rng = np.random.default_rng([seed, epoch])
    told = min(settings.works, settings.first if epoch == 0 else settings.works)
    world = works(told, settings.world)
    texts = [Lesson("", text[: _LONGEST * settings.length], "text") for text in catalogue]
    for _ in range(settings.works // told):
        texts += corpus.sentences(world, "mood", settings.sentences, rng)
        texts += corpus.sentences(world, "theme", settings.themes, rng)
        texts += [*corpus.enrichments(world)] * settings.enrichments
        for _ in range(settings.assessments):
            texts += corpus.assessments(world, rng)
        texts += corpus.intents(world, told * settings.intents, rng)
    return [text for text in texts if text.learnt.strip()]


class Reading:
    """Batches of (ids, labels), both int64 [texts, longest], padded on the right.

    An exchange is what the chat template makes of it, and only its answer is learnt; of a sentence only its fact is
    (loss on salient spans alone, as in REALM, Guu et al. 2020), because a model that learns the wordings as well
    knows the moods in these wordings and often not in others; other texts are learnt whole. Texts never share a row,
    so that a fact cannot be copied from its neighbour. Text is always text: what looks like a special token is read
    letter by letter.

    Args:
        tokenizer: From ``learn_tokenizer``.
        settings: How much of what, tokens per batch and per text.
        catalogue: Texts that are learnt besides. Cut to the length of the settings.
        seed: With the epoch, decides wordings, questions and order.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, settings: HouseLanguageSettings, catalogue: Sequence[str], seed: int
    ) -> None:
        self._tokenizer, self._settings = tokenizer, settings
        self._catalogue, self._seed = catalogue, seed
        self._steps = sum(1 for _ in self.epoch(1))

    def __len__(self) -> int:
        """Batches of an epoch; others differ by a few, as their wordings differ in length."""
        return self._steps

    def epoch(self, number: int) -> Iterator[tuple[tuple[Tensor, ...], int]]:
        """The batches of one epoch, equal for an equal number, each with its number of learnt tokens."""
        rows = self._rows(number)
        for batch in self._batches(rows, np.random.default_rng([self._seed, number, 1])):
            ids = np.zeros((len(batch), max(len(rows[k][0]) for k in batch)), np.int64)
            labels = np.full_like(ids, UNLABELLED)
            for place, k in enumerate(batch):
                row, learnt = rows[k]
                ids[place, : len(row)] = row
                labels[place, learnt : len(row)] = row[learnt:]
            yield (torch.from_numpy(ids), torch.from_numpy(labels)), int((labels != UNLABELLED).sum())

    def _rows(self, number: int) -> list[tuple[list[int], int]]:
        """Token ids of every text, and where what is learnt begins."""
        texts = lessons(self._settings, self._catalogue, self._seed, number)
        start, end, user, assistant = (
            self._tokenizer.convert_tokens_to_ids(token) for token in (START, END, USER, ASSISTANT)
        )
        read, learnt = self._plain([text.read for text in texts]), self._plain([text.learnt for text in texts])
        rows = []
        for text, before, after in zip(texts, read, learnt, strict=True):
            head = [user, *before, assistant] if text.kind == "exchange" else [start, *before]
            tail = after if text.kind == "sentence" else [*after, end]
            rows.append(([*head, *tail][: self._settings.length], len(head)))
        return [(row, begin) for row, begin in rows if begin < len(row)]  # a text without a learnt token has no loss

    def _plain(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def _batches(self, rows: list[tuple[list[int], int]], rng: np.random.Generator) -> list[NDArray[np.int64]]:
        lengths = np.array([len(row) for row, _ in rows])
        order = rng.permutation(len(rows))
        pools = math.ceil(lengths.sum() / (_POOL * self._settings.batch))
        batches = []
        for drawn in np.array_split(order, pools):
            pool = drawn[np.argsort(lengths[drawn], kind="stable")]
            batches += np.split(pool, _cuts(lengths[pool], self._settings.batch))
        return [batches[k] for k in rng.permutation(len(batches))]


def _cuts(lengths: NDArray[np.int64], budget: int) -> list[int]:
    """Where rising ``lengths`` are cut, so that no part is larger than ``budget`` tokens when padded."""
    cuts, first = [], 0
    for place, longest in enumerate(lengths):
        if place > first and longest * (place + 1 - first) > budget:
            cuts.append(place)
            first = place
    return cuts
