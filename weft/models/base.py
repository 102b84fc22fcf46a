"""The contract of every recommender: fit on a training split, score all items, score pairs, expose vectors.

A model holds no metric code, reads nothing but what it is handed, and is saved as named arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, Self, TypeVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from weft.data.sequences import Events, Queries, Task
from weft.training.runtime import Runtime

Settings = TypeVar("Settings", bound=BaseModel)
Tensors = Mapping[str, NDArray[np.generic]]


class Model(ABC, Generic[Settings]):
    """One recommender.

    Args:
        settings: The model's validated settings (a class in ``weft/models/settings/``).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        """Fits on ``train`` alone; ``validation`` may only select (an epoch), never teach.

        Returns:
            The training history (schema ``TrainingHistory``); no rows where nothing is iterated.
        """

    @abstractmethod
    def score(self, queries: Queries) -> torch.Tensor:
        """Scores the whole catalogue for each query: float32 [q, n_items + 1], column 0 is -inf.

        A query's scores depend on that query alone, never on the batch it came in.
        """

    def score_pairs(self, queries: Queries, item: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32 [q]: the score of one given item per query."""
        scores = self.score(queries)
        index = torch.from_numpy(item.astype(np.int64)).to(scores.device)
        return scores.gather(1, index[:, None])[:, 0].cpu().numpy()

    def item_vectors(self) -> NDArray[np.float32] | None:
        """float32 [n_items + 1, d], row 0 zero; None for a model without item vectors."""
        return None

    def query_vectors(self, queries: Queries) -> NDArray[np.float32] | None:
        """float32 [q, d] in the space of ``item_vectors``; None for a model without them."""
        del queries
        return None

    def to(self, device: str) -> str:
        """Moves the fitted model to ``cpu`` or ``cuda``; returns where it computes. Most stay on the CPU."""
        del device
        return "cpu"

    @abstractmethod
    def tensors(self) -> Tensors:
        """Everything that ``load`` needs, as named arrays."""

    @classmethod
    @abstractmethod
    def load(cls, settings: Settings, tensors: Tensors) -> Self:
        """The fitted model back from its arrays; scores are equal bit for bit on the same device."""
