"""Mini-batches of tensors whose rows belong together: pairs, labelled rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


class TensorBatches:
    """Batches in an order of the epoch's own, every row once per epoch.

    Args:
        tensors: Of equally many rows; a batch is the same rows of each.
        batch: Rows per batch, at most all of them.
        seed: With the epoch, decides the order; nothing else is remembered.
        whole: Leaves the rows out that do not fill a last batch: where the rows of a batch are told apart from each
            other, a smaller one would be an easier task.
    """

    def __init__(self, tensors: Sequence[Tensor], batch: int, seed: int, *, whole: bool = False) -> None:
        self._tensors, self._seed = tuple(tensors), seed
        self._batch = min(batch, len(tensors[0])) if whole else batch
        self._rows = len(tensors[0]) // self._batch * self._batch if whole else len(tensors[0])

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(self._rows / self._batch)

    def epoch(self, number: int) -> Iterator[tuple[tuple[Tensor, ...], int]]:
        """The batches of one epoch, each with its number of rows."""
        order = np.random.default_rng([self._seed, number]).permutation(len(self._tensors[0]))
        for rows in torch.from_numpy(order[: self._rows]).split(self._batch):
            yield tuple(part[rows] for part in self._tensors), len(rows)
