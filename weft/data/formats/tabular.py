"""The user's own tables: CSV or JSON lines (also gzip) or Parquet, for interactions and for items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from weft.data.formats import tables
from weft.data.mapping import TABLE_ENDINGS, ColumnMapping
from weft.errors import SourceError

_ISO = [f"%Y-%m-%d{between}{clock}" for between in "T " for clock in ("%H:%M:%S%.f", "%H:%M")]
"""Patterns of a day and a time, each with or without a zone (%#z)."""

_LOOK = 1_000
"""First times of a file that tell how all of them are written."""

_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
WITHOUT = {
    "timestamp": "no times: the order of the file counts as the order of events; protocols and baselines that need "
    "time (global_time, recent popularity) will refuse",
    "rating": "no ratings: every interaction counts as positive; pointwise protocols will refuse",
    "domain": "no domains in the interactions: an event takes the domain of its item",
    "session": "no sessions: protocols that need visits will refuse, or cut them by time",
}
"""What cannot be done without a column."""


@dataclass(frozen=True)
class Tabular:
    """One interactions file and perhaps one items file, with the names of their columns."""

    interactions_file: Path
    items_file: Path | None
    mapping: ColumnMapping

    @classmethod
    def find(cls, source: Path, mapping: ColumnMapping) -> Tabular:
        """``source`` is the interactions file, or a folder with ``interactions.*`` and perhaps ``items.*``.

        Raises:
            SourceError: If a file is missing, empty or of an unknown kind, or lacks a mapped column.
        """
        items = Path(mapping.items.file) if mapping.items.file else None
        if source.is_dir():
            interactions = tables.beside(source, "interactions")
            if interactions is None:
                raise SourceError(
                    f"{source} holds no interactions file", f"name it interactions{TABLE_ENDINGS[0]} or give the file"
                )
            items = items or tables.beside(source, "items")
        else:
            interactions = source
        tables.check(interactions, mapping, mapping.interactions.named(), "interactions")
        if items is not None:
            tables.check(items, mapping, mapping.items.named("file"), "items")
        return cls(interactions, items, mapping)

    def notes(self) -> list[str]:
        """What cannot be done because a column is not there.

        Raises:
            SourceError: If the times cannot be read.
        """
        self.interactions()  # looks at the first times
        named = self.mapping.interactions.named()
        return [why for column, why in WITHOUT.items() if column not in named]

    def interactions(self) -> pl.LazyFrame:
        """All rows in file order (schema ``RawInteractions``). A time that cannot be read is null, a rating NaN."""
        named = self.mapping.interactions.named()
        table = tables.scan(self.interactions_file, self.mapping)
        types = table.collect_schema()

        def text(ours: str) -> pl.Expr:
            return tables.text(named[ours]) if ours in named else pl.lit(None, pl.String)

        time = self._time(table, named["timestamp"], types) if "timestamp" in named else pl.lit(None, pl.Int64)
        rating = pl.lit(None, pl.Float64)
        if "rating" in named:
            stated = pl.col(named["rating"])
            value = stated.cast(pl.Float64, strict=False)
            rating = pl.when(stated.is_not_null() & value.is_null()).then(float("nan")).otherwise(value)
        return table.with_row_index("__row").select(
            pl.col("__row").cast(pl.Int64).alias("row"),
            text("user").alias("user_id"),
            text("item").alias("item_id"),
            time.alias("timestamp"),
            rating.alias("rating"),
            text("domain").alias("domain"),
            text("session").alias("session_id"),
            text("part").alias("part"),
        )

    def items(self) -> pl.DataFrame:
        """All items in file order (schema ``RawItems``); no rows where there is no items file."""
        return tables.items(self.items_file, self.mapping)

    def _time(self, table: pl.LazyFrame, column: str, types: pl.Schema) -> pl.Expr:
        """Seconds since 1970 UTC, rounded down.

        Raises:
            SourceError: If none of the first times can be read: without it, all would count as not stated.
        """
        how, value = self.mapping.time, pl.col(column)
        if isinstance(types[column], pl.Datetime | pl.Date):
            return value.cast(pl.Datetime("us")).dt.epoch("s")
        stated = table.select(value.cast(pl.String).str.strip_chars()).drop_nulls().filter(value != "").head(_LOOK)
        first = stated.collect(engine="streaming")  # which stops reading at the last of them
        if how == "auto":
            how = "s" if sum(map(_is_number, first[column])) * 2 >= len(first) else "iso"
        seconds = _seconds(value, how)
        if len(first) and first.select(seconds.is_null().all()).item():
            example = first[column][0]
            raise SourceError(
                f"{self.interactions_file}: no time in {column!r} can be read as {how}, for example {example!r}",
                "say under 'time' in the mapping how times are written: s, ms, us, ns, iso or a pattern as %d.%m.%Y",
            )
        return seconds


def _seconds(value: pl.Expr, how: str) -> pl.Expr:
    if how in _UNITS:
        return (value.cast(pl.Float64, strict=False) / _UNITS[how]).floor().cast(pl.Int64, strict=False)
    if how != "iso":
        return value.str.to_datetime(how, strict=False, time_unit="us").dt.epoch("s")
    zoned = [value.str.to_datetime(f"{pattern}%#z", strict=False, time_unit="us") for pattern in _ISO]
    in_utc = [time.dt.convert_time_zone("UTC").dt.replace_time_zone(None) for time in zoned]
    plain = [value.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in _ISO]
    day = value.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return pl.coalesce(*in_utc, *plain, day).dt.epoch("s")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
