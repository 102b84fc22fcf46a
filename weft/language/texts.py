"""The texts of items that encoders read: the title, the catalogue's text, and the text that a language model wrote."""

from __future__ import annotations

import polars as pl

from weft.schemas import TEXTS

OF = pl.Enum(TEXTS)
_SCHEMA = {"item": pl.Int32, "of": OF, "text": pl.String}


def of_items(items: pl.DataFrame, enrichments: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per item and kind of text: ``item, of, text``, sorted by (item, of). A text that is not there has no row.

    ``title``; ``text``: title and description, or genres where there is no description; ``enriched``: the title and
    what a language model wrote of the item (LLM-EMF, title ‖ T_i of eq. 1).

    Args:
        items: Schema ``Items``.
        enrichments: Schema ``ItemEnrichments``.
    """
    more = pl.coalesce(_told("description"), _told(pl.col("genres").list.join(", ")))
    tables = [
        items.select("item", text=_told("title"), of=pl.lit("title", OF)),
        items.select("item", text=_joined("title", more), of=pl.lit("text", OF)),
    ]
    if enrichments is not None:
        written = enrichments.select("item", written=_told("text")).drop_nulls()
        told = items.join(written, on="item").select(
            "item", text=_joined("title", pl.col("written")), of=pl.lit("enriched", OF)
        )
        tables.append(told)
    rows = pl.concat([table.select(*_SCHEMA) for table in tables]).drop_nulls("text")
    return rows.cast(_SCHEMA).sort("item", "of")  # type: ignore[arg-type]


def _told(text: str | pl.Expr) -> pl.Expr:
    """The text without the space around it; null where nothing is left."""
    stripped = (pl.col(text) if isinstance(text, str) else text).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def _joined(title: str, more: pl.Expr) -> pl.Expr:
    joined = pl.concat_str(_told(title).str.strip_chars_end("."), more, separator=". ", ignore_nulls=True)
    return pl.when(joined != "").then(joined)
