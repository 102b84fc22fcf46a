"""Moments that a person may write as a date, and the parts that cuts in time make."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

import polars as pl
from pydantic import BeforeValidator

from weft.evaluation.protocols.base import SPLIT
from weft.evaluation.protocols.windows import cut_parts


def _seconds(value: object) -> object:
    """A date, or its ISO text, as seconds since 1970 UTC; anything else goes on to be validated as a number."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    return value


Moment = Annotated[int, BeforeValidator(_seconds)]


def parts_by_time(validation_from: int, test_from: int) -> pl.Expr:
    """The split of each row by two cuts; rows without a time are unused."""
    return cut_parts(pl.col("timestamp"), validation_from, test_from).fill_null(pl.lit("unused", dtype=SPLIT))


def quantiles(rows: pl.LazyFrame, first: float, second: float) -> tuple[int, int] | None:
    """Two timestamps that stand in the data, at these shares of the rows; None where no row has a time."""
    time = pl.col("timestamp")
    cuts = rows.select(first=time.quantile(first, "higher"), second=time.quantile(second, "higher")).collect().row(0)
    return None if cuts[0] is None else (int(cuts[0]), int(cuts[1]))
