"""Overlapping windows over the rows of a group, and the one split that each row plays in them.

A window is a target and the rows before it. Cut in some order, windows of one group may fall on both sides of a cut,
and a row that several of them hold is in all of their splits; here it counts for the earliest.
"""

from __future__ import annotations

import polars as pl

from weft.evaluation.protocols.base import SPLIT


def cut_parts(place: pl.Expr, first: int, second: int) -> pl.Expr:
    """The split by a place (or a time): train before ``first``, validation before ``second``, then test, else null."""
    return (
        pl.when(place < first)
        .then(pl.lit("train", dtype=SPLIT))
        .when(place < second)
        .then(pl.lit("validation", dtype=SPLIT))
        .when(place >= second)
        .then(pl.lit("test", dtype=SPLIT))
    )


def of_earliest_window(ends: str, width: int, group: list[str]) -> pl.Expr:
    """The split of each row, over rows in order: that of the earliest window of at most ``width`` rows that holds it.

    Args:
        ends: Column with the split of the window that ends at the row; null where none does.
        width: Rows of a window, its target included.
        group: Columns that a window does not cross.

    Returns:
        The split; ``unused`` for rows that no window holds.
    """
    place = pl.int_range(pl.len()).over(group)
    end = pl.when(pl.col(ends).is_not_null()).then(place).backward_fill().over(group)
    split = pl.col(ends).backward_fill().over(group)
    return pl.when(end - place < width).then(split).otherwise(pl.lit("unused", dtype=SPLIT))
