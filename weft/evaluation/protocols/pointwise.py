"""Labelled pairs: would this user like this item? Judged by AUC and UAUC, not by a ranking of the catalogue.

In all of them a label comes from the rating, rows without a rating are unused, and the history of a judged row is the
user's earlier positives by (timestamp, row) among the rows in use.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from weft.data.sequences import Events, Task
from weft.evaluation.protocols.base import SPLIT, Protocol
from weft.evaluation.protocols.moments import Moment, parts_by_time, quantiles


class Pointwise(Protocol):
    """What the pointwise protocols share: labels by a threshold, every held-out labelled row is judged."""

    kind: ClassVar[Literal["ranking", "pointwise"]] = "pointwise"
    needs: ClassVar[tuple[str, ...]] = ("timestamp", "rating")
    one_clock: ClassVar[bool] = True

    filter_seen: Literal[False] = Field(default=False, description="Nothing is ranked, so nothing is left out.")
    positive_from: float = Field(default=4, description="Ratings from here on are positive, all others negative.")

    @property
    def liked(self) -> pl.Expr:
        """Rated, and from the threshold on."""
        return (pl.col("rating") >= self.positive_from).fill_null(value=False)

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        labelled = pl.col("rating").is_not_null() & pl.col("timestamp").is_not_null()
        split = pl.when(labelled).then(self._parts(ordered.filter(labelled))).otherwise(pl.lit("unused", dtype=SPLIT))
        return ordered.with_columns(split=split).with_columns(
            label=pl.when(labelled).then(pl.col("rating") >= self.positive_from),
            target=pl.col("split").is_in(["validation", "test"]),
        )

    @abstractmethod
    def _parts(self, labelled: pl.LazyFrame) -> pl.Expr:
        """The split of each labelled row; ``labelled`` holds these rows, to look at their times."""


class PointwiseTime(Pointwise):
    """Labelled pairs, two cuts in time for everybody at quantiles of the labelled rows' times."""

    name: ClassVar[str] = "pointwise_time"
    title: ClassVar[str] = "Liked or not, past against future"

    validation_quantile: float = Field(
        default=0.8, gt=0, lt=1, description="Share of labelled rows before the validation split."
    )
    test_quantile: float = Field(default=0.9, gt=0, lt=1, description="Share of labelled rows before the test split.")

    @model_validator(mode="after")
    def _cuts_in_order(self) -> Self:
        if self.validation_quantile >= self.test_quantile:
            raise ValueError("validation_quantile must be below test_quantile")
        return self

    def _parts(self, labelled: pl.LazyFrame) -> pl.Expr:
        cuts = quantiles(labelled, self.validation_quantile, self.test_quantile)
        if cuts is None:
            raise self.refusal("timestamps and ratings")
        return parts_by_time(*cuts)


class PointwiseCollmMonths(Pointwise):
    """Whole calendar months in UTC, as CoLLM cuts ML-1M (arXiv:2310.19488; its public tables agree row by row).

    Training June 2001 to March 2002, validation April to August 2002, test September 2002 to January 2003; what is
    earlier or later is unused, and no history reaches it.
    """

    name: ClassVar[str] = "pointwise_collm_months"
    title: ClassVar[str] = "Liked or not, CoLLM's months"

    train_from: Moment = Field(default=991_353_600, description="First moment in use: 2001-06-01 UTC.")
    validation_from: Moment = Field(default=1_017_619_200, description="First cut: 2002-04-01 UTC.")
    test_from: Moment = Field(default=1_030_838_400, description="Second cut: 2002-09-01 UTC.")
    test_until: Moment = Field(default=1_044_057_600, description="First moment no more in use: 2003-02-01 UTC.")

    @model_validator(mode="after")
    def _cuts_in_order(self) -> Self:
        if not self.train_from < self.validation_from < self.test_from < self.test_until:
            raise ValueError("train_from, validation_from, test_from and test_until must follow one another")
        return self

    def _parts(self, labelled: pl.LazyFrame) -> pl.Expr:
        if quantiles(labelled, 0.5, 0.5) is None:
            raise self.refusal("timestamps and ratings")
        inside = pl.col("timestamp").is_between(self.train_from, self.test_until, closed="left")
        parts = parts_by_time(self.validation_from, self.test_from)
        return pl.when(inside).then(parts).otherwise(pl.lit("unused", dtype=SPLIT))


def warm_pairs(events: Events, task: Task) -> NDArray[np.bool_]:
    """Bool [q]: judged pairs whose user and item both stand in the training split (CoLLM's ``not_cold``)."""
    users = np.zeros(events.n_users + 1, dtype=np.bool_)
    users[events.user] = True
    items = np.zeros(events.n_items + 1, dtype=np.bool_)
    items[events.item] = True
    return users[task.queries.user] & items[task.target]
