"""Small tables that several tests write."""

import numpy as np
import polars as pl

from weft.cells import Cell

SHOP = Cell("shop")
FITTED = Cell("shop", "leave_one_out", "offline", "full", 0)

USERS = "interactions.users"
INTERACTIONS = "interactions.interactions"
FREE = "notes.any"
"""An asset without a schema."""


def users(*names: str) -> pl.DataFrame:
    """A valid ``interactions.users``."""
    return pl.DataFrame(
        {"user": range(1, len(names) + 1), "user_id": names}, schema={"user": pl.Int32, "user_id": pl.String}
    )


def interactions(rows: int, *, seed: int = 0) -> pl.DataFrame:
    """A valid ``interactions.interactions``, sorted by user, so that ``row`` is not ascending."""
    rng = np.random.default_rng(seed)
    none = pl.lit(None, dtype=pl.String)
    return pl.DataFrame(
        {
            "row": rng.permutation(rows).astype(np.int64),
            "user": np.sort(rng.integers(1, 6041, rows)).astype(np.int32),
            "item": rng.integers(1, 3707, rows).astype(np.int32),
            "timestamp": rng.integers(950_000_000, 1_050_000_000, rows),
            "rating": rng.integers(1, 6, rows).astype(np.float32),
        }
    ).with_columns(domain=none, session_id=none, part=none)


def vectors(width: int, items: int = 2) -> pl.DataFrame:
    """A valid table of item vectors."""
    values = np.arange(items * width, dtype=np.float32).reshape(items, width)
    schema = {"item": pl.Int32, "vector": pl.Array(pl.Float32, width)}
    return pl.DataFrame({"item": range(1, items + 1), "vector": values}, schema=schema)
