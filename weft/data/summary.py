"""Small tables for people: how events spread over users, and any table as Markdown."""

from __future__ import annotations

import polars as pl


def events_per_user(interactions: pl.DataFrame) -> pl.DataFrame:
    """Histogram with columns ``events`` (1, 2-3, 4-7, … doubling) and ``users``."""
    counts = interactions.group_by("user").len()["len"]
    power = counts.log(2).floor().cast(pl.Int64).rename("power")
    low, high = pl.lit(2).pow("power"), pl.lit(2).pow(pl.col("power") + 1) - 1
    several = pl.format("{}-{}", low, high)
    label = pl.when(pl.col("power") == 0).then(pl.lit("1")).otherwise(several).alias("events")
    return power.value_counts().sort("power").select(label, pl.col("count").alias("users"))


def markdown(table: pl.DataFrame) -> str:
    """A small table as Markdown; what would break its lines is neutralised."""
    rows = [table.columns, ["---"] * table.width, *table.iter_rows()]
    lines = [" | ".join(str(value).replace("|", "/").replace("\n", " ") for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)
