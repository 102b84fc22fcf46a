"""Leave-one-out: the last item of each user against the full catalogue."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

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
