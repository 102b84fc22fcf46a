"""Small interaction tables for the tests of protocols."""

import polars as pl

from weft.data.sequences import Task
from weft.schemas import Interactions


def interactions(rows: list[tuple], columns: tuple[str, ...] = ("user", "item", "timestamp")) -> pl.DataFrame:
    """Rows in source order; ``row`` counts them. Columns that are not named are null."""
    frame = pl.DataFrame(rows, schema=list(columns), orient="row").with_row_index("row")
    missing = [pl.lit(None).alias(name) for name in Interactions.columns() if name not in frame.columns]
    return Interactions.cast(frame.with_columns(missing).select(list(Interactions.columns())))


def asked(task: Task) -> dict[int, tuple[list[int], int]]:
    """User to (history, target), for tasks with one query per user."""
    queries = task.queries
    return {
        int(user): (queries.items[queries.offsets[i] : queries.offsets[i + 1]].tolist(), int(task.target[i]))
        for i, user in enumerate(queries.user)
    }
