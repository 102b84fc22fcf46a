"""A model whose figure on validation is known: the nearer ``place`` is to what everybody takes next, the higher."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch
from pydantic import Field

from tests.models import contracts as c
from weft.choosing.trials import Study
from weft.data.sequences import Events, Queries, Task
from weft.errors import WeftError
from weft.models.base import Model, Tensors
from weft.models.registry import Entry
from weft.models.settings import ModelSettings
from weft.models.settings.search import Among, Between, among, between, space_of
from weft.training.runtime import Runtime

TARGET = 8


class PeakSettings(ModelSettings):
    place: float = Field(0.1, ge=0, le=1, description="Share of the catalogue.", json_schema_extra=between(0.0, 1.0))
    kind: str = Field("a", description="Nothing.", json_schema_extra=among("a", "b"))
    epochs: int = Field(6, ge=1, description="Epochs.")


class Peak(Model[PeakSettings]):
    """Scores items by their nearness to ``place``; diverges where that is above 0.95."""

    fits: int = 0

    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        type(self).fits += 1
        if self.settings.place > 0.95:
            raise WeftError("the loss became nan in epoch 1", "lower place")
        value = 1 - abs(self.settings.place - TARGET / c.N_ITEMS)
        for _ in range(self.settings.epochs):
            runtime.measured(value)
        return pl.DataFrame({"epoch": range(self.settings.epochs)})

    def score(self, queries: Queries) -> torch.Tensor:
        near = -(torch.arange(c.N_ITEMS + 1) - self.settings.place * c.N_ITEMS).abs()
        near[0] = -torch.inf
        return near.expand(len(queries), -1).clone()

    def tensors(self) -> Tensors:
        return {"none": np.zeros(1)}

    @classmethod
    def load(cls, settings: PeakSettings, tensors: Tensors) -> "Peak":
        return cls(settings)


PEAK = Entry("peak", "A known figure", "tests.choosing.peak:Peak", PeakSettings)


def study(
    seed: int = 0,
    space: dict[str, Between | Among] | None = None,
    settings: Callable[[dict[str, Any]], ModelSettings] = lambda fields: PeakSettings(**fields),
) -> Study:
    """A study of the peak: everybody takes ``TARGET`` next."""
    task = c.validation([TARGET] * 5)
    return Study(PEAK, settings, space_of(PeakSettings) if space is None else space, c.cycle(), task, seed)
