"""The user's own tables: CSV (also gzip), Parquet or JSON lines, for interactions and for items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from weft.data.archives import need_file, read_gzip
from weft.data.mapping import TABLE_ENDINGS, ColumnMapping
from weft.errors import SourceError
from weft.schemas import RawItems

_ISO = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f")
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_WITHOUT = {
    "timestamp": "no times: the order of the file counts as the order of events; protocols and baselines that need "
    "time (global_time, recent popularity) will refuse",
    "rating": "no ratings: every interaction counts as positive; pointwise protocols will refuse",
    "domain": "no domains in the interactions: an event takes the domain of its item",
    "session": "no sessions: protocols that need visits will refuse, or cut them by time",
}


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
            interactions = _named(source, "interactions")
            if interactions is None:
                raise SourceError(
                    f"{source} holds no interactions file", f"name it interactions{TABLE_ENDINGS[0]} or give the file"
                )
            items = items or _named(source, "items")
        else:
            interactions = source
        found = cls(interactions, items, mapping)
        found._check(interactions, mapping.interactions.named(), "interactions")
        if items is not None:
            found._check(items, mapping.items.named("file"), "items")
        return found

    def _check(self, path: Path, columns: dict[str, str], kind: str) -> None:
        need_file(path)
        try:
            head = self._scan(path).head(1).collect()
        except PolarsError as error:
            first = str(error).splitlines()[0]
            raise SourceError(f"{path} cannot be read: {first}", f"give one of {', '.join(TABLE_ENDINGS)}") from error
        for ours, theirs in columns.items():
            if theirs not in head.columns:
                raise SourceError(
                    f"{path} has no column {theirs!r} (for {ours})",
                    f"its columns are {', '.join(head.columns[:12])}; "
                    f"name the right one under '{kind}.{ours}' in the mapping",
                )
        if head.is_empty():
            raise SourceError(f"{path} has no rows", "get the file again")

    def notes(self) -> list[str]:
        """What cannot be done because a column is not there."""
        named = self.mapping.interactions.named()
        return [why for column, why in _WITHOUT.items() if column not in named]

    def interactions(self) -> pl.LazyFrame:
        """All rows in file order (schema ``RawInteractions``). A time that cannot be read is null, a rating NaN."""
        named = self.mapping.interactions.named()
        table = self._scan(self.interactions_file)
        types = table.collect_schema()

        def text(ours: str) -> pl.Expr:
            return _text(named[ours]) if ours in named else pl.lit(None, pl.String)

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
        if self.items_file is None:
            return RawItems.create_empty()
        named = self.mapping.items.named("file")
        table = self._scan(self.items_file)
        types = table.collect_schema()

        def text(ours: str) -> pl.Expr:
            return _text(named[ours]) if ours in named else pl.lit(None, pl.String)

        if "genres" not in named:
            genres = pl.lit(None, pl.List(pl.String))
        elif isinstance(types[named["genres"]], pl.List):
            genres = pl.col(named["genres"]).cast(pl.List(pl.String))
        else:
            names = text("genres").str.split(self.mapping.genre_separator)
            genres = names.list.eval(pl.element().str.strip_chars()).list.filter(pl.element() != "")
        return (
            table.with_row_index("__row")
            .select(
                pl.col("__row").cast(pl.Int64).alias("row"),
                text("item").alias("item_id"),
                text("title").alias("title"),
                text("year").str.extract(r"(\d{4})").cast(pl.Int32).alias("year"),
                genres.alias("genres"),
                *(text(ours).alias(ours) for ours in ("description", "domain", "image")),
            )
            .collect()
        )

    def _scan(self, path: Path) -> pl.LazyFrame:
        """The file as it is; every CSV field is text, so that ids keep their leading zeros."""
        by_length = sorted(TABLE_ENDINGS, key=len, reverse=True)
        kind = next((ending for ending in by_length if path.name.lower().endswith(ending)), None)
        if kind is None:
            raise SourceError(f"{path} is of an unknown kind", f"give one of {', '.join(TABLE_ENDINGS)}")
        if kind == ".parquet":
            return pl.scan_parquet(path)
        if kind in (".jsonl", ".ndjson"):
            return pl.scan_ndjson(path, infer_schema_length=10_000, ignore_errors=True)
        return pl.scan_csv(
            read_gzip(path) if kind.endswith(".gz") else path,
            separator="\t" if kind.startswith(".tsv") else self.mapping.separator,
            quote_char=self.mapping.quote,
            infer_schema=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
        )

    def _time(self, table: pl.LazyFrame, column: str, types: pl.Schema) -> pl.Expr:
        """Seconds since 1970 UTC, rounded down."""
        how, value = self.mapping.time, pl.col(column)
        if isinstance(types[column], pl.Datetime | pl.Date):
            return value.cast(pl.Datetime("us")).dt.epoch("s")
        if how == "auto":
            first = table.select(value.drop_nulls().first().cast(pl.String)).collect().item()
            how = "s" if first is None or _is_number(first) else "iso"
        if how in _UNITS:
            return (value.cast(pl.Float64, strict=False) / _UNITS[how]).floor().cast(pl.Int64, strict=False)
        if how == "iso":
            times = [value.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in _ISO]
            parsed = [
                t.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if k % 2 == 0 else t
                for k, t in enumerate(times)
            ]
            return pl.coalesce(*parsed, value.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))).dt.epoch(
                "s"
            )
        return value.str.to_datetime(how, strict=False, time_unit="us").dt.epoch("s")


def _text(column: str) -> pl.Expr:
    """As text without spaces around it, null where nothing is left."""
    text = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _named(folder: Path, stem: str) -> Path | None:
    return next((folder / f"{stem}{end}" for end in TABLE_ENDINGS if (folder / f"{stem}{end}").is_file()), None)
