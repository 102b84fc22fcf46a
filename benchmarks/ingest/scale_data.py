"""A log as large as one wants, shaped like MovieLens-20M: Zipf items, log-normal activity, times, half-star ratings.

Per 20 M rows it has 138,000 users and 27,000 items; fewer rows have fewer of both. The same numbers give the same
file. Rows come by user, as in the original; 0.2 % of them say again what an earlier one says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

BLOCK = 2_000_000


def generate(path: Path, rows: int, seed: int = 20) -> None:
    """Writes ``path`` (``.csv`` or ``.parquet``: user, item, rating, timestamp), block by block."""
    rng = np.random.default_rng(seed)
    users, items = max(rows * 138_000 // 20_000_000, 10), max(int(27_000 * (rows / 20_000_000) ** 0.5), 10)
    activity = rng.lognormal(0.0, 1.3, users)
    user_of = np.sort(rng.choice(users, rows, p=activity / activity.sum())).astype(np.int64)
    popularity = 1.0 / np.arange(1, items + 1) ** 0.9
    names = rng.permutation(items) * 5 + 1  # numbers with gaps, unrelated to popularity
    cumulated = np.cumsum(popularity / popularity.sum())
    if path.suffix == ".csv":
        with path.open("wb") as file:
            for start in range(0, rows, BLOCK):
                _block(rng, user_of[start : start + BLOCK], cumulated, names).write_csv(file, include_header=not start)
        return
    blocks = [_block(rng, user_of[start : start + BLOCK], cumulated, names).lazy() for start in range(0, rows, BLOCK)]
    pl.concat(blocks).sink_parquet(path, row_group_size=1_000_000)


def _block(rng: np.random.Generator, user: np.ndarray, cumulated: np.ndarray, names: np.ndarray) -> pl.DataFrame:
    size = len(user)
    item = names[np.searchsorted(cumulated, rng.random(size), side="right").clip(max=len(names) - 1)]
    rating = rng.choice(np.arange(0.5, 5.1, 0.5), size, p=[0.01, 0.03, 0.01, 0.07, 0.04, 0.21, 0.11, 0.28, 0.08, 0.16])
    timestamp = rng.integers(789_652_009, 1_427_784_002, size)
    again = rng.random(size) < 0.002
    again[0] = False
    again &= np.r_[False, user[1:] == user[:-1]]
    for column in (item, rating, timestamp):
        column[1:][again[1:]] = column[:-1][again[1:]]
    return pl.DataFrame({"user": user + 1, "item": item, "rating": rating, "timestamp": timestamp})
