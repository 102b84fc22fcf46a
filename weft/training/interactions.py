"""Mini-batches of single interactions: a user, an item, and what was drawn against it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.data.sequences import Events

# A drawn item that the user took is drawn again, so often at most; who took nearly all is left with a false one.
_REDRAWS = 8


class InteractionBatches:
    """Shuffled batches of interactions, every one once per epoch.

    Args:
        train: The training split. With labels each row stands for itself and nothing is drawn.
        batch: Interactions per batch.
        seed: With the epoch, decides the order and the draws; nothing else is remembered.
        negatives: Items drawn against each interaction, among the items of the training split that the user did not
            take, each as likely.
    """

    def __init__(self, train: Events, batch: int, seed: int, negatives: int) -> None:
        self._train, self._batch, self._seed = train, batch, seed
        self._negatives = negatives if train.label is None else 0
        self._catalogue = np.unique(train.item).astype(np.int64)
        self._taken = np.unique(self._pair(train.user, train.item))

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
        """int64 [b, negatives]."""
        drawn = rng.choice(self._catalogue, (len(user), self._negatives))
        for _ in range(_REDRAWS if self._negatives else 0):
            row, column = np.nonzero(self._is_taken(user, drawn))
            if not len(row):
                break
            drawn[row, column] = rng.choice(self._catalogue, len(row))
        return drawn

    def _is_taken(self, user: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.bool_]:
        pair = self._pair(user[:, None], item)
        place = np.searchsorted(self._taken, pair)
        return self._taken[np.minimum(place, len(self._taken) - 1)] == pair

    def _pair(self, user: NDArray[np.integer], item: NDArray[np.integer]) -> NDArray[np.int64]:
        return user.astype(np.int64) * (self._train.n_items + 1) + item
