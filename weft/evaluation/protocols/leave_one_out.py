"""Leave-one-out: the last item of each user against the full catalogue."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from weft.evaluation.protocols.base import SPLIT, Protocol


class LeaveOneOut(Protocol):
    """The last item of a user is asked in the test, the one before it in validation; the rest is training.

    Users with fewer than three interactions are trained on and never asked. Training rows of other users may be
    later than a user's test: it measures models, not a deployment.
    """

    name: ClassVar[str] = "leave_one_out"
    title: ClassVar[str] = "Last item of each user against the full catalogue"

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        return ordered.with_columns(split=leave_last()).with_columns(target=pl.col("split") != "train")


class LeaveOneOutTop1000(Protocol):
    """Leave-one-out within the 1,000 items that have the most training rows.

    The catalogue is chosen without a look at what is held out: the last two rows of a user (of at least three) are held
    out over all items, the catalogue is counted on the rest, and then every row outside the catalogue is unused. So a
    user is asked in the test if their very last item is in the catalogue, in validation if the one before it is; and no
    held-out row, whatever its item, changes what is trained on. Items with equal counts: the smaller number first.
    """

    name: ClassVar[str] = "leave_one_out_top1000"
    title: ClassVar[str] = "Last item of each user within the 1,000 most frequent of training"

    size: int = Field(default=1000, ge=2, description="Number of items in the catalogue.")

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        rows = ordered.with_columns(split=leave_last())
        inside = pl.col("item").is_in(most_frequent(rows.filter(pl.col("split") == "train"), self.size).implode())
        kept = pl.when(inside).then("split").otherwise(pl.lit("unused", dtype=SPLIT))
        return rows.with_columns(split=kept).with_columns(target=pl.col("split").is_in(["validation", "test"]))


def most_frequent(rows: pl.LazyFrame, size: int) -> pl.Series:
    """The ``size`` items with the most rows; of items with equal counts the smaller number first."""
    counts = rows.group_by("item").len().sort("len", "item", descending=[True, False])
    return counts.head(size).select("item").collect()["item"]


def leave_last() -> pl.Expr:
    """The split of each row, over rows by (user, timestamp, row): last, second last, rest."""
    count = pl.len().over("user")
    from_end = count - pl.int_range(pl.len()).over("user")
    asked = count >= 3
    return (
        pl.when(asked & (from_end == 1))
        .then(pl.lit("test", dtype=SPLIT))
        .when(asked & (from_end == 2))
        .then(pl.lit("validation", dtype=SPLIT))
        .otherwise(pl.lit("train", dtype=SPLIT))
    )
