"""A text file as its lines, plain or gzip, as a stream."""

from __future__ import annotations

from pathlib import Path

import polars as pl

_NO_BREAK = "\x1f"
"""A control character that hardly a line holds: the CSV reader then hands out whole lines, also those not UTF-8."""


def lines(path: Path, skip: int = 0) -> pl.LazyFrame:
    """Column ``line``, without its line end; bytes that are not UTF-8 become the replacement character.

    Args:
        path: The file.
        skip: Lines at the top to leave out.
    """
    return pl.scan_csv(
        path,
        separator=_NO_BREAK,
        has_header=False,
        new_columns=["line"],
        quote_char=None,
        infer_schema=False,
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
        skip_rows=skip,
    )
