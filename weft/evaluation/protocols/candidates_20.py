"""PO4ISR's setting: the last rating of a day against 19 drawn items."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from weft.evaluation.protocols.sampling import Sampled
from weft.evaluation.protocols.windows import cut_parts, of_earliest_window

DAY = 86_400
WIDTH = 20
SEED = 0
"""Of the windows that are asked: the same for every candidate seed."""


class PaperCandidates20(Sampled):
    """Windows of at most 20 ratings of one day: the last one is the target, ranked against 19 drawn items.

    Items with at least five ratings in all; a session is the UTC day of a user with at least two ratings; a longer day
    is all its windows of 20. Windows are sorted by (end, row) and cut 80/10/10 by count, and a drawn 1,000 of the test
    windows are asked (of the validation windows as well). Windows of one day overlap, so neighbours lie on both sides
    of a cut; a row counts for its earliest window. ``clean_days`` keeps each day whole, in the order of their ends, on
    the side where its last window falls. PO4ISR (arXiv:2312.07552) reports candidate seeds 0, 10, 42, 625 and 2023.
    """

    name: ClassVar[str] = "paper_candidates_20"
    title: ClassVar[str] = "Last rating of a day against 19 drawn items"
    grouped_by: ClassVar[Literal["user", "session"]] = "session"
    needs: ClassVar[tuple[str, ...]] = ("timestamp",)
    count: ClassVar[int] = WIDTH - 1
    window: ClassVar[int | None] = WIDTH - 1
    one_clock: ClassVar[bool] = True
    promises_past: ClassVar[bool] = False

    min_item_events: int = Field(default=5, ge=1, description="Items with fewer ratings in all are unused.")
    asked: int = Field(default=1000, ge=1, description="Held-out windows that are asked, drawn from each split.")
    clean_days: bool = Field(default=False, description="All windows of a day lie on one side of a cut.")

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        day = ["user", "day"]
        often = pl.len().over("item") >= self.min_item_events
        size, place = pl.len().over(day), pl.int_range(pl.len()).over(day)
        end = pl.when(size <= WIDTH).then(place == size - 1).otherwise(place >= WIDTH - 1)
        rows = (
            ordered.with_columns(day=pl.when(often).then(pl.col("timestamp") // DAY))
            .with_columns(day=pl.when(size >= 2).then("day"))
            .with_columns(end=pl.col("day").is_not_null() & end)
            .collect()
        )
        if not rows["end"].any():
            raise self.refusal("two timestamps on one day of a user")
        days = (
            rows.filter(pl.col("day").is_not_null())
            .group_by(day)
            .agg(pl.col("timestamp", "row").last(), windows=pl.col("end").sum())
            .sort("timestamp", "row")
            .select(*day, "windows", session=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        )
        rows = rows.drop("session").join(days, on=day, how="left")
        ends = self._cut(rows.filter("end"), days)
        return (
            rows.join(ends, on="row", how="left")
            .sort("session", "timestamp", "row", nulls_last=[True, False, False])
            .lazy()
            .with_columns(split=of_earliest_window("of_window", WIDTH, ["session"]))
            .with_columns(target=pl.col("row").is_in(self._drawn(ends).implode()))
        )

    def _cut(self, ends: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
        """The ``row`` that ends each window, and the split ``of_window`` that the window lies in."""
        place = pl.int_range(pl.len())
        if self.clean_days:
            last = days.select("session", last=pl.col("windows").cum_sum().cast(pl.Int64) - 1)
            ends, place = ends.join(last, on="session"), pl.col("last")
        parts = cut_parts(place, int(0.8 * len(ends)), int(0.9 * len(ends)))
        return ends.sort("timestamp", "row").select("row", of_window=parts)

    def _drawn(self, ends: pl.DataFrame) -> pl.Series:
        """Rows that end the held-out windows that are asked."""
        rng = np.random.default_rng(SEED)
        held = [ends.filter(of_window=split)["row"].sort().to_numpy() for split in ("validation", "test")]
        drawn = [rng.choice(rows, min(self.asked, len(rows)), replace=False) for rows in held]
        return pl.Series(np.concatenate(drawn), dtype=pl.Int64)
