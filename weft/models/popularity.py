"""Popularity: the same items for everybody, by their number of training events.

Two baselines that a sequence model has to beat; the recent one is the harder one wherever tastes move.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from weft.data.sequences import Events, Queries, Task
from weft.errors import RequestError
from weft.models.base import Model, Settings, Tensors
from weft.models.settings import PopularitySettings, RecentPopularitySettings
from weft.schemas import TrainingHistory
from weft.training.runtime import Runtime

_DAY = 86_400


class Counts(Model[Settings]):
    """Scores every item by a count; the query plays no part. Subclasses say which events count."""

    counts: NDArray[np.int64]

    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        """Counts events per item; where events are labelled, the positive ones."""
        del validation, runtime
        liked = train.positives
        self.counts = np.bincount(liked.item[self._counted(liked)], minlength=train.n_items + 1).astype(np.int64)
        return TrainingHistory.create_empty()

    def _counted(self, train: Events) -> slice | NDArray[np.bool_]:
        del train
        return slice(None)

    def score(self, queries: Queries) -> torch.Tensor:
        """The counts, once per query. Items without an event are level at 0."""
        row = torch.from_numpy(self.counts.astype(np.float32))
        row[0] = -torch.inf
        return row.repeat(len(queries), 1)

    def tensors(self) -> Tensors:
        """The counts, int64 [n_items + 1]."""
        return {"counts": self.counts}

    @classmethod
    def load(cls, settings: Settings, tensors: Tensors) -> Self:
        """From the counts."""
        model = cls(settings)
        model.counts = np.asarray(tensors["counts"], dtype=np.int64)
        return model


class Popularity(Counts[PopularitySettings]):
    """Events over the whole training split."""


class RecentPopularity(Counts[RecentPopularitySettings]):
    """Events of the last ``days`` days before the end of the training split."""

    def _counted(self, train: Events) -> NDArray[np.bool_]:
        if train.timestamp is None:
            raise RequestError(
                "recent_popularity needs timestamps and the interactions have none",
                "map a timestamp column, or leave recent_popularity out of --systems",
            )
        newest = train.timestamp.max(initial=0)
        return train.timestamp > newest - self.settings.days * _DAY
