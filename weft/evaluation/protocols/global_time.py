"""Past against future: two cuts in time for everybody."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from weft.evaluation.protocols.base import Protocol
from weft.evaluation.protocols.moments import Moment, parts_by_time, quantiles


class GlobalTime(Protocol):
    """Two cuts in time for everybody: training before the first, test from the second on.

    Rows without a time are unused. The cuts are quantiles of all timestamps, or given moments.
    """

    name: ClassVar[str] = "global_time"
    title: ClassVar[str] = "Past against future, one cut in time for all users"
    needs: ClassVar[tuple[str, ...]] = ("timestamp",)
    one_clock: ClassVar[bool] = True

    validation_quantile: float = Field(
        default=0.8, gt=0, lt=1, description="Share of events before the validation split."
    )
    test_quantile: float = Field(default=0.9, gt=0, lt=1, description="Share of events before the test split.")
    validation_from: Moment | None = Field(
        default=None, description="Moment of the first cut (UTC), instead of a quantile."
    )
    test_from: Moment | None = Field(default=None, description="Moment of the second cut (UTC), instead of a quantile.")
    targets: Literal["first", "all"] = Field(
        default="first", description="Held-out interactions of a user that are asked."
    )

    @model_validator(mode="after")
    def _cuts_in_order(self) -> Self:
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("give both validation_from and test_from, or neither")
        if self.validation_quantile >= self.test_quantile:
            raise ValueError("validation_quantile must be below test_quantile")
        if self.validation_from is not None and self.test_from is not None and self.validation_from >= self.test_from:
            raise ValueError("validation_from must be before test_from")
        return self

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        cuts = quantiles(ordered, self.validation_quantile, self.test_quantile)
        if cuts is None:
            raise self.refusal("timestamps")
        if self.validation_from is not None and self.test_from is not None:
            cuts = self.validation_from, self.test_from
        target = pl.col("split").is_in(["validation", "test"])
        if self.targets == "first":
            target &= pl.int_range(pl.len()).over("user", "split") == 0
        return ordered.with_columns(split=parts_by_time(*cuts)).with_columns(target=target)
