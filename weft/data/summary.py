"""What a person wants to know of a data set before anything is fitted on it."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl


def describe(interactions: pl.DataFrame, n_users: int, n_items: int) -> dict[str, int | float | str]:
    """Counts, span of time and density of cleaned interactions."""
    facts: dict[str, int | float | str] = {
        "interactions": len(interactions),
        "users": n_users,
        "items": n_items,
        "items with events": interactions["item"].n_unique(),
        "density": len(interactions) / max(n_users * n_items, 1),
        "events per user (median)": float(interactions.group_by("user").len()["len"].median() or 0),  # type: ignore[arg-type]
    }
    first, last = interactions.select(pl.col("timestamp").min().alias("a"), pl.col("timestamp").max().alias("b")).row(0)
    facts["time span (UTC)"] = "no times" if first is None else f"{_day(first)} to {_day(last)}"
    return facts


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


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
