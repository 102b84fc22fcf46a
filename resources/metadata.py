"""What Dagster shows of a commit: counts, columns, a preview. All text from data is escaped; bytes are left out."""

import html
from collections.abc import Iterable

import dagster as dg
import polars as pl

from resources.artifacts import ArtifactStore, Leaf
from weft.schemas import schema_of

PREVIEW_ROWS = 5
CELL_CHARACTERS = 60


def of_commit(
    store: ArtifactStore, leaves: list[Leaf], seconds: float, *, partitioned: bool
) -> dict[str, dg.MetadataValue]:
    """Metadata of one materialisation that committed ``leaves`` in ``seconds``.

    The row count of a data set is Dagster's partition row count; of the whole asset only where it has no partitions.
    """
    count = "dagster/partition_row_count" if partitioned else "dagster/row_count"
    entries: dict[str, dg.MetadataValue] = {
        count: dg.MetadataValue.int(sum(leaf.rows for leaf in leaves)),
        "bytes": dg.MetadataValue.int(sum(leaf.bytes for leaf in leaves)),
        "write_seconds": dg.MetadataValue.float(round(seconds, 3)),
        "dagster/storage_kind": dg.MetadataValue.text("parquet"),
    }
    if not leaves:
        return entries
    first = leaves[0]
    frame = pl.scan_parquet(store.place.pin(first.path))
    columns = frame.collect_schema()
    where = first.path if len(leaves) == 1 else store.base.joinpath(*first.asset.split("."))
    entries |= {
        "path": dg.MetadataValue.path(str(where)),
        "dagster/uri": dg.MetadataValue.text(where.as_uri()),
        "dagster/column_schema": dg.MetadataValue.table_schema(column_schema(first.asset, columns)),
        "preview": dg.MetadataValue.md(preview(frame)),
    }
    if len(leaves) == 1:
        return entries | {"content_digest": dg.MetadataValue.text(first.digest)}
    rows = [(leaf.cell.path, f"{leaf.rows:,}", size(leaf.bytes), leaf.digest[:12]) for leaf in leaves]
    return entries | {"cells": dg.MetadataValue.md(markdown(("cell", "rows", "size", "digest"), rows))}


def column_schema(asset: str, columns: pl.Schema) -> dg.TableSchema:
    """The columns with their types, and what the schema says of each."""
    schema = schema_of(asset, columns)
    rules = schema.columns() if schema else {}
    key = schema.primary_key() if schema else []
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                str(kind),
                constraints=dg.TableColumnConstraints(
                    nullable=rules[name].nullable if name in rules else True,
                    unique=key == [name],
                ),
            )
            for name, kind in columns.items()
        ]
    )


def preview(frame: pl.LazyFrame) -> str:
    """The first rows as a Markdown table."""
    columns = frame.collect_schema()
    names = [name for name, kind in columns.items() if kind != pl.Binary]
    head = frame.select(names).head(PREVIEW_ROWS).collect()
    return markdown(names, ([_short(value) for value in row] for row in head.rows()))


def markdown(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; no cell can end its column, its row or the table."""
    header = [_escape(name) for name in names]
    lines = [header, ["---"] * len(header), *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def size(number: int) -> str:
    """Bytes as people read them."""
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def _short(value: object) -> str:
    if isinstance(value, list | pl.Series):
        inner = ", ".join(_short(part) for part in list(value)[:4])
        return f"[{inner}{', …' if len(value) > 4 else ''}]"
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…"


def _escape(text: str) -> str:
    safe = html.escape(" ".join(text.split()), quote=False)
    for mark in "\\`*_{}[]()#|!~":
        safe = safe.replace(mark, f"&#{ord(mark)};") if mark in "|`" else safe.replace(mark, f"\\{mark}")
    return safe
