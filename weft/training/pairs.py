"""Labelled pairs as a fit sees them: every labelled row judged from the state after the positives before it.

The history of a training row is what the protocol's rule for queries makes of it (``Events.history``), the last
``length`` of that. Rows with the same history share one encoding. Each history is a sequence of its own, so that
a row is judged in training by exactly the computation that scores it later; the price is up to ``length`` positions
per history, where training on all positions of one long sequence would pay one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.data.sequences import Events
from weft.training.batches import of_similar_length

# Batches of histories drawn together: less padding, still mixed.
_POOL_BATCHES = 20


class PairBatches:
    """Shuffled batches of histories with the labelled rows that are judged after each; every row once per epoch.

    Args:
        train: The training split with labels.
        length: Most positives read before a row.
        batch: Histories per batch.
        seed: With the epoch, decides the order and the draws; nothing else is remembered.
        negatives: Items drawn against each positive row as further rows labelled 0, among the items of the training
            split that the user did not label.
        users: Whether each history comes with its user, int64 [h], after everything else.

    Raises:
        ValueError: If the events have no labels.
    """

    def __init__(
        self, train: Events, length: int, batch: int, seed: int, negatives: int = 0, *, users: bool = False
    ) -> None:
        if train.label is None:
            raise ValueError("the events have no labels")
        liked = train.label > 0
        history = _all_before(train.user, liked) if train.history is None else train.history
        other = (train.user[1:] != train.user[:-1]) | (history[1:] != history[:-1]).any(axis=1)
        self._first = np.flatnonzero(np.append(True, other)[: len(train)])  # of each run with one history
        self._rows = np.diff(np.append(self._first, len(train)))
        begin, self._end = history[self._first].T
        self._kept = np.minimum(self._end - begin, length)
        # One more entry, so that an index is there for the empty histories of data without a positive.
        self._train, self._liked, self._positive = train, liked, np.append(train.item[liked], np.int32(0))
        self._batch, self._seed, self._negatives, self._users = batch, seed, negatives, users
        self._catalogue = np.unique(train.item)
        self._labelled = np.unique(self._pair(train.user, train.item))

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(len(self._first) / self._batch)

    def epoch(self, number: int) -> Iterator[tuple[tuple[Tensor, ...], int]]:
        """The batches of one epoch, what ``PairLoss`` takes, each with its number of labelled rows."""
        rng = np.random.default_rng([self._seed, number])
        for chosen in of_similar_length(self._kept, self._batch, _POOL_BATCHES, rng):
            arrays = self._arrays(chosen, rng)
            yield tuple(torch.from_numpy(array) for array in arrays), int(self._rows[chosen].sum())

    def _arrays(self, chosen: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        kept: NDArray[np.int64] = self._kept[chosen]
        end: NDArray[np.int64] = self._end[chosen]
        column = np.arange(max(kept.max(), 1))
        real = column < kept[:, None]
        inputs = np.where(real, self._positive[np.where(real, end[:, None] - kept[:, None] + column, 0)], 0)
        rows = self._rows[chosen]
        history = np.repeat(np.arange(len(chosen)), rows)
        row = np.repeat(self._first[chosen] - (np.cumsum(rows) - rows), rows) + np.arange(rows.sum())
        item, label = self._train.item[row], self._liked[row]
        if self._negatives:
            asked = np.repeat(np.flatnonzero(label), self._negatives)
            drawn = rng.choice(self._catalogue, len(asked))
            free = ~np.isin(self._pair(self._train.user[row[asked]], drawn), self._labelled)
            history, item = np.append(history, history[asked][free]), np.append(item, drawn[free])
            label = np.append(label, np.zeros(free.sum(), np.bool_))
        arrays = (
            inputs.astype(np.int64),
            kept.astype(np.int64),
            history.astype(np.int64),
            item.astype(np.int64),
            label.astype(np.float32),
        )
        return (*arrays, self._train.user[self._first[chosen]].astype(np.int64)) if self._users else arrays

    def _pair(self, user: NDArray[np.int32], item: NDArray[np.int32]) -> NDArray[np.int64]:
        return user.astype(np.int64) * (self._train.n_items + 1) + item


def _all_before(user: NDArray[np.int32], liked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64 [n, 2]: the range of all earlier positives of each row's user among the positives."""
    before: NDArray[np.int64] = np.cumsum(liked) - liked
    new_user = np.append(True, user[1:] != user[:-1])[: len(user)]
    return np.column_stack([np.maximum.accumulate(np.where(new_user, before, 0)), before])


class PairLoss(nn.Module):
    """Binary cross-entropy of labelled pairs.

    Args:
        network: Has ``pair_scores(inputs, lengths, history, item)``: the logit of each judged row; ``user`` after
            that, where the batches tell it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, inputs: Tensor, lengths: Tensor, history: Tensor, item: Tensor, label: Tensor, *user: Tensor
    ) -> Tensor:
        """Mean loss of a batch.

        Args:
            inputs: int64 [h, time], histories of positives, right-padded with 0.
            lengths: int64 [h], their lengths; 0 for an empty history.
            history: int64 [r], which history a row is judged after.
            item: int64 [r], the judged item.
            label: float32 [r], 1 or 0.
            user: int64 [h], whose histories they are, where the batches tell.
        """
        logits = self.network.pair_scores(inputs, lengths, history, item, *user)  # type: ignore[operator]
        return F.binary_cross_entropy_with_logits(logits, label)
