"""One table in one file: CSV or TSV, JSON lines (each also gzip) or Parquet; and what a table of items looks like."""

from __future__ import annotations

import html
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from weft.data.archives import check_gzip, need_file
from weft.data.formats import json_lines
from weft.data.mapping import JSON_ENDINGS, TABLE_ENDINGS, ColumnMapping
from weft.errors import SourceError
from weft.schemas import RawItems


def scan(path: Path, mapping: ColumnMapping) -> pl.LazyFrame:
    """The file as it is; every field of CSV and JSON is text, so that ids keep their leading zeros.

    Of JSON lines, only the columns that the mapping names.
    """
    kind = _kind(path)
    if kind == ".parquet":
        return pl.scan_parquet(path)
    if kind in JSON_ENDINGS:
        mapped = {*mapping.interactions.named().values(), *mapping.items.named("file").values()}
        fields = json_lines.fields_of(path)
        return json_lines.scan(path, {name: kind for name, kind in fields.items() if name in mapped})
    return pl.scan_csv(
        path,
        separator="\t" if kind.startswith(".tsv") else mapping.separator,
        quote_char=mapping.quote,
        infer_schema=False,
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
    )


def _kind(path: Path) -> str:
    by_length = sorted(TABLE_ENDINGS, key=len, reverse=True)
    kind = next((ending for ending in by_length if path.name.lower().endswith(ending)), None)
    if kind is None:
        raise SourceError(f"{path} is of an unknown kind", f"give one of {', '.join(TABLE_ENDINGS)}")
    return kind


def check(path: Path, mapping: ColumnMapping, columns: dict[str, str], kind: str) -> None:
    """Looks at the whole of a gzip file and at the first row of any.

    Args:
        path: The file.
        mapping: How it is written.
        columns: Our name to the file's name, for every column that must be there.
        kind: ``interactions`` or ``items``, for the error.

    Raises:
        SourceError: If it is missing, empty, damaged or of an unknown kind, or lacks a column.
    """
    check_gzip(need_file(path))
    try:
        _look(path, mapping, columns, kind)
    except PolarsError as error:
        first = str(error).splitlines()[0]
        raise SourceError(f"{path} cannot be read: {first}", f"give one of {', '.join(TABLE_ENDINGS)}") from error


def _look(path: Path, mapping: ColumnMapping, columns: dict[str, str], kind: str) -> None:
    if _kind(path) in JSON_ENDINGS:
        names = list(json_lines.fields_of(path))
        if not names:
            raise SourceError(f"{path} holds no JSON objects", "write one object per line")
    else:
        names = scan(path, mapping).collect_schema().names()
    for ours, theirs in columns.items():
        if theirs not in names:
            raise SourceError(
                f"{path} has no column {theirs!r} (for {ours})",
                f"its columns are {', '.join(names[:12])}; name the right one under '{kind}.{ours}' in the mapping",
            )
    if scan(path, mapping).head(1).collect().is_empty():
        raise SourceError(f"{path} has no rows", "get the file again")


def items(path: Path | None, mapping: ColumnMapping) -> pl.DataFrame:
    """All items in file order (schema ``RawItems``); no rows where there is no items file."""
    if path is None:
        return RawItems.create_empty()
    named = mapping.items.named("file")
    table = scan(path, mapping)
    types = table.collect_schema()

    def stated(ours: str) -> pl.Expr:
        if ours not in named:
            return pl.lit(None, pl.String)
        plain = text(named[ours])
        return unescaped(plain) if mapping.unescape and ours in ("title", "description") else plain

    if "genres" not in named:
        genres = pl.lit(None, pl.List(pl.String))
    elif isinstance(types[named["genres"]], pl.List):
        genres = pl.col(named["genres"]).cast(pl.List(pl.String)).list.drop_nulls()
    else:
        names = stated("genres").str.split(mapping.genre_separator)
        genres = names.list.eval(pl.element().str.strip_chars()).list.filter(pl.element() != "")
    return (
        table.with_row_index("__row")
        .select(
            pl.col("__row").cast(pl.Int64).alias("row"),
            stated("item").alias("item_id"),
            stated("title").alias("title"),
            stated("year").str.extract(r"(\d{4})").cast(pl.Int32).alias("year"),
            genres.alias("genres"),
            *(stated(ours).alias(ours) for ours in ("description", "domain", "image")),
        )
        .collect()
    )


def text(column: str) -> pl.Expr:
    """As text without spaces around it, null where nothing is left."""
    stripped = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def unescaped(stated: pl.Expr) -> pl.Expr:
    """HTML entities as the characters that they stand for (``&amp;`` → ``&``), once; null where nothing is left."""
    plain = stated.map_batches(_unescape, return_dtype=pl.String).str.strip_chars()
    return pl.when(plain != "").then(plain)


def _unescape(texts: pl.Series) -> pl.Series:
    plain = [None if each is None else html.unescape(each) for each in texts]
    return pl.Series(texts.name, plain, dtype=pl.String)


def beside(folder: Path, *stems: str) -> Path | None:
    """The first file in ``folder`` that is called one of ``stems`` and is a table."""
    paths = (folder / f"{stem}{ending}" for stem in stems for ending in TABLE_ENDINGS)
    return next((path for path in paths if path.is_file()), None)
