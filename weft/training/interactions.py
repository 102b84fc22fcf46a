"""Mini-batches of single interactions: a user, an item, and what was drawn against it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.data.sequences import Events


class InteractionBatches:
    """Shuffled batches of interactions, every one once per epoch.

    Args:
        train: The training split. With labels each row stands for itself and nothing is drawn.
        batch: Interactions per batch.
        seed: With the epoch, decides the order and the draws; nothing else is remembered.
        negatives: Items drawn against each interaction, among the items of the training split that the user did not
            take, each as likely; who took all of them is left with one of their own.
    """

    def __init__(self, train: Events, batch: int, seed: int, negatives: int) -> None:
        self._train, self._batch, self._seed = train, batch, seed
        self._negatives = negatives if train.label is None else 0
        self._catalogue = np.unique(train.item).astype(np.int64)
        size = len(self._catalogue)
        place = np.searchsorted(self._catalogue, train.item)
        user, place = np.divmod(np.unique(train.user.astype(np.int64) * size + place), size)
        self._first = np.searchsorted(user, np.arange(train.n_users + 2))
        # How many items that the user did not take come before each that they took: in order, for each user.
        self._free_before = user * (size + 1) + place - (np.arange(len(user)) - self._first[user])

    def __len__(self) -> int:
        """Batches per epoch."""
        return math.ceil(len(self._train) / self._batch)

    def epoch(self, number: int) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], int]]:
        """The batches of one epoch: users int64 [b], items int64 [b, 1 + negatives], labels float32 of that shape.

        The first item of a row is the user's own. Equal for an equal number.
        """
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(len(self._train))
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            user, own = self._train.user[rows].astype(np.int64), self._train.item[rows].astype(np.int64)
            item = np.column_stack([own, self._drawn(user, rng)])
            label = np.zeros(item.shape, np.float32)
            label[:, 0] = 1 if self._train.label is None else self._train.label[rows]
            yield (torch.from_numpy(user), torch.from_numpy(item), torch.from_numpy(label)), len(rows)

    def _drawn(self, user: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """int64 [b, negatives]: number r of the items not taken stands r + (taken ones before it) in the catalogue."""
        size = len(self._catalogue)
        taken = self._first[user + 1] - self._first[user]
        r = rng.integers(0, np.maximum(size - taken, 1)[:, None], (len(user), self._negatives))
        key = user[:, None] * (size + 1) + r
        before = np.searchsorted(self._free_before, key, side="right") - self._first[user][:, None]
        return self._catalogue[np.minimum(r + before, size - 1)]
