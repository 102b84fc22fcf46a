"""Lines of JSON as they are found: broken lines among good ones, and Python literals that only look like JSON.

``polars.scan_ndjson`` gives up a whole file for one broken line; here such a line is a row of nulls, which cleaning
rejects by name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from weft.data.archives import open_text
from weft.data.formats.lines import lines

_TEXT = re.compile(r"""'[^']*'|"[^"]*\"""")


def scan(path: Path, fields: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.LazyFrame:
    """``fields`` of every object in a file of JSON lines, plain or gzip; all null where a line is broken.

    Blank lines are no rows. Bytes that are not UTF-8 become the replacement character.
    """
    found = lines(path)
    schema = pl.Struct(dict(fields))
    decoded = pl.col("line").map_batches(
        lambda batch: _decoded(batch, schema), return_dtype=schema, is_elementwise=True
    )
    return found.filter(pl.col("line").str.strip_chars() != "").select(decoded.alias("__object")).unnest("__object")


def _decoded(lines: pl.Series, schema: pl.Struct) -> pl.Series:
    try:
        return lines.str.json_decode(schema)
    except PolarsError:  # a line of this batch is broken: one after the other, which takes ten times as long
        found = [parsed(line) for line in lines]
        columns = [_column(field, [each.get(field.name) for each in found]) for field in schema.fields]
        return pl.DataFrame(columns).to_struct(lines.name)


def _column(field: pl.Field, values: list[Any]) -> pl.Series:
    if field.dtype == pl.List(pl.String):
        lists = [None if each is None else [each] if not isinstance(each, list) else each for each in values]
        return pl.Series(
            field.name, [each and [_plain(one) for one in each] for each in lists], dtype=pl.List(pl.String)
        )
    return pl.Series(field.name, [_plain(each) for each in values], dtype=pl.String).cast(field.dtype, strict=False)


def _plain(value: Any) -> str | None:
    """A text, number or truth value as the text that Polars makes of it: 5.0 is 5."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) else None


def fields_of(path: Path, lines: int = 10_000) -> dict[str, pl.DataType]:
    """The fields of the first objects of a file: lists of text, or text, also where a number is written.

    Objects inside objects are no columns and are left out.
    """
    fields: dict[str, pl.DataType] = {}
    for each in islice(objects(path), lines):
        for name, value in each.items():
            if isinstance(value, list):
                fields[name] = pl.List(pl.String)
            elif not isinstance(value, dict):
                fields.setdefault(name, pl.String())
    return fields


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """Every object of a file, one line at a time; an empty one where a line is broken.

    A line may also be a Python literal (``{'asin': 'x', 'sold': True}``), which is parsed and never evaluated.
    """
    with open_text(path) as lines:
        for line in lines:
            if line.strip():
                yield parsed(line)


def parsed(line: str) -> dict[str, Any]:
    """The object that a line holds; an empty one where it holds none."""
    for parse in (json.loads, _loads_literal, ast.literal_eval):
        try:
            found = parse(line.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        return found if isinstance(found, dict) else {}
    return {}


def _loads_literal(line: str) -> Any:
    """A literal without escapes, whose texts become texts of JSON: three times as fast as ``ast.literal_eval``."""
    if "\\" in line:
        raise ValueError("an escape of Python is another one in JSON")
    return json.loads(_TEXT.sub(_in_double_quotes, line))


def _in_double_quotes(text: re.Match[str]) -> str:
    return '"' + text[0][1:-1].replace('"', '\\"') + '"'
