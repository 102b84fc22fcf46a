"""Negative controls: published protocols that leak, kept to show how much the leak adds. Never chosen by default."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from weft.evaluation.protocols.base import Protocol
from weft.evaluation.protocols.leave_one_out import most_frequent
from weft.evaluation.protocols.windows import cut_parts


class PaperLeaky(Protocol):
    """DUALRec's split (arXiv:2507.13957): rows of the 1,000 most rated items, sorted by user, cut 70/15/15.

    Users come in the order of their first row in the source, the rows of a user in order of time. A user at a cut is in
    two splits. Asked is the last row of each held-out user with at least ten rows there. (The published figures also
    rank with the five true titles in the query: that is the system's doing, not the split's.)
    """

    name: ClassVar[str] = "paper_leaky"
    title: ClassVar[str] = "Negative control: DUALRec's cut of rows by user number"
    control: ClassVar[str] = (
        "held-out rows choose the catalogue, and training rows of other users are later than the rows that are asked"
    )
    one_clock: ClassVar[bool] = True
    promises_past: ClassVar[bool] = False

    size: int = Field(default=1000, ge=2, description="Number of items in the catalogue, counted over all rows.")
    min_user_rows: int = Field(default=10, ge=2, description="Held-out rows that a user needs to be asked.")

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        inside = pl.col("item").is_in(most_frequent(ordered, self.size).implode())
        by_user = [pl.col("row").min().over("user"), "timestamp", "row"]
        rows = ordered.filter(inside).sort(by_user).collect()
        parts = cut_parts(pl.int_range(pl.len()), int(0.7 * len(rows)), int(0.85 * len(rows)))
        of_user = pl.len().over("user", "split")
        last = pl.int_range(pl.len()).over("user", "split") == of_user - 1
        held = pl.col("split").is_in(["validation", "test"])
        return (
            ordered.join(rows.lazy().select("row", split=parts), on="row", how="left", maintain_order="left")
            .with_columns(pl.col("split").fill_null("unused"))
            .with_columns(target=held & last & (of_user >= self.min_user_rows))
        )
