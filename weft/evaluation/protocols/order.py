"""Order and ties in tables of interactions: one key everywhere, (timestamp, source row) inside a user or a session."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.schemas import SPLITS

ORDER = ("user", "timestamp", "row")


def in_order(interactions: pl.LazyFrame) -> pl.LazyFrame:
    """The interactions by (user, timestamp, row). Cleaned ones are so already: a look takes 4 ms on 1 M, a sort 100."""
    after = pl.lit(value=True)
    for name in reversed(ORDER):
        key, before = pl.col(name), pl.col(name).shift()
        after = (key > before) | (key.eq_missing(before) & after)
    ordered = interactions.select(after.slice(1).fill_null(value=False).all()).collect().item()
    return interactions if ordered else interactions.sort(ORDER)


def up_to(splits: pl.DataFrame, split: str) -> pl.DataFrame:
    """Rows of ``split`` and of the splits before it."""
    return splits.filter(pl.col("split").is_in(SPLITS[: SPLITS.index(split) + 1]))


def times(frame: pl.DataFrame) -> NDArray[np.int64] | None:
    """Timestamps, or None where any is missing."""
    return None if frame["timestamp"].null_count() else frame["timestamp"].to_numpy()


def run_starts(frame: pl.DataFrame, grouped_by: str) -> NDArray[np.int64]:
    """int64 [n]: for each row, the first row of the same user (or session) and second.

    A missing time equals a missing time.
    """
    if frame.is_empty():
        return np.zeros(0, dtype=np.int64)
    time = frame["timestamp"].fill_null(np.iinfo(np.int64).min).to_numpy()
    group = frame[grouped_by].to_numpy()
    new = np.ones(len(group), dtype=np.bool_)
    new[1:] = (group[1:] != group[:-1]) | (time[1:] != time[:-1])
    return np.maximum.accumulate(np.where(new, np.arange(len(group)), 0))


def tied_time(splits: pl.DataFrame, split: Literal["validation", "test"]) -> NDArray[np.bool_]:
    """Bool [q] in the order of ``Protocol.task``: the source row, not time, decided that this is the target.

    True where another event of the same user (of the same session, in a session protocol) shares the target's
    timestamp; true everywhere without timestamps.
    """
    visible = splits.filter(pl.col("split") != "unused")
    starts = run_starts(visible, "user" if visible["session"].null_count() else "session")
    sizes = np.bincount(starts, minlength=len(starts))[starts]
    asked = (visible["target"] & (visible["split"] == split)).to_numpy()
    return sizes[asked] > 1
