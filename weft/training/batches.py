"""Mini-batches of histories of similar length, so that padding is hardly computed.

A batch of long histories has many times the targets of one of short histories. A fit weighs its batches by that
(``per_batch``): with the mean of each as it is, a target in a short history would count many times as much.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.data.prefixes import prefixes
from weft.data.sequences import Events

# Batches drawn together, sorted by length inside, then shuffled. Larger pools pad less but mix less: with 50
# batches of 128 all of ML-1M is one pool and padding is 1.9 % where fixed windows of 200 compute 46 %.
_POOL_BATCHES = 50


def of_similar_length(
    lengths: NDArray[np.int64], batch: int, pool_batches: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Positions of ``lengths`` in shuffled batches: drawn in pools, sorted by length inside, every position once."""
    order = rng.permutation(len(lengths))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch * pool_batches):
        pool = order[start : start + batch * pool_batches]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch] for i in range(0, len(pool), batch)]
    for index in rng.permutation(len(batches)):
        yield batches[index]


class HistoryBatches:
    """Shuffled batches of (inputs, targets), padded with 0 on the right to the longest history of the batch.

    Args:
        items: int32 [events], histories one after the other.
        offsets: int64 [n + 1], where each history starts.
        length: Last ``length`` + 1 events of a history are used: ``length`` inputs, each with the next as target.
        batch: Histories per batch.
        seed: With the epoch, decides the order; nothing else is remembered.
    """

    def __init__(
        self,
        items: NDArray[np.int32],
        offsets: NDArray[np.int64],
        length: int,
        batch: int,
        seed: int,
    ) -> None:
        kept = np.minimum(np.diff(offsets), length + 1)
        usable = kept >= 2  # one event has nothing to predict it from
        self._items = items
        self._end = offsets[1:][usable]
        self._kept = kept[usable]
        self._batch = batch
        self._seed = seed

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(len(self._kept) / self._batch)

    @property
    def targets(self) -> int:
        """Targets per epoch."""
        return int((self._kept - 1).sum())

    @property
    def per_batch(self) -> float:
        """Targets of the average batch, 0 where no history has any: what makes every target count alike in a fit."""
        return self.targets / max(len(self), 1)

    def epoch(self, number: int) -> Iterator[tuple[tuple[Tensor, Tensor], int]]:
        """The batches of one epoch: inputs and targets, int64 [batch, longest], and how many targets are real.

        Equal for an equal number.
        """
        rng = np.random.default_rng([self._seed, number])
        for rows in of_similar_length(self._kept, self._batch, _POOL_BATCHES, rng):
            yield self._padded(rows), int((self._kept[rows] - 1).sum())

    def _padded(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        kept, end = self._kept[rows, None], self._end[rows, None]
        column = np.arange(kept.max())
        index = np.minimum(end - kept + column, end - 1)
        sequence = np.where(column < kept, self._items[index], 0).astype(np.int64)
        inputs, targets = sequence[:, :-1], sequence[:, 1:]
        return torch.from_numpy(inputs * (targets > 0)), torch.from_numpy(np.ascontiguousarray(targets))


class PrefixBatches:
    """Shuffled batches of prefixes with the item that came next, for networks that look at a prefix as a whole.

    Args:
        train: The training split.
        length: Last items of a prefix that are kept.
        batch: Prefixes per batch.
        per_history: Prefixes drawn from each history for an epoch, each as likely, anew for every epoch; 0: all.
        seed: With the epoch, decides draws and order; nothing else is remembered.
    """

    def __init__(self, train: Events, length: int, batch: int, per_history: int, seed: int) -> None:
        self._rows = prefixes(train)
        self._length, self._batch, self._per_history, self._seed = length, batch, per_history, seed
        self._first, self._count = np.unique(self._rows.start, return_index=True, return_counts=True)[1:]

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(self.targets / self._batch)

    @property
    def targets(self) -> int:
        """Prefixes per epoch."""
        return self._per_history * len(self._first) if self._per_history else len(self._rows)

    def epoch(self, number: int) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], int]]:
        """The batches of one epoch: inputs int64 [batch, longest], lengths int64 [batch] and targets int64 [batch].

        Inputs are right-padded with 0. Equal for an equal number.
        """
        rng = np.random.default_rng([self._seed, number])
        drawn = self._drawn(rng)
        lengths = np.minimum(self._rows.place[drawn] - self._rows.start[drawn], self._length)
        for chosen in of_similar_length(lengths, self._batch, _POOL_BATCHES, rng):
            queries, target = self._rows.take(drawn[chosen])
            inputs = queries.padded(int(lengths[chosen].max())).astype(np.int64)
            arrays = inputs, lengths[chosen], target.astype(np.int64)
            yield (torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]), torch.from_numpy(arrays[2])), len(chosen)

    def _drawn(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if not self._per_history:
            return np.arange(len(self._rows))
        share = rng.random((self._per_history, len(self._first)))
        return (self._first + np.floor(share * self._count).astype(np.int64)).ravel()
