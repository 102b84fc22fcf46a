"""Sequences over two shops that come split: items.tsv with a domain each, and train, valid and test beside it.

The layout of LLMCDSR (Xin et al., ACM TOIS 2025). Each line of a part is one user's events of both shops, oldest
first; those of valid and test are other users than those of train. The last item of such a line is the one asked for
(protocol ``predefined`` with ``targets: last``), all before it is its visible history and never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from weft.data.formats import tables
from weft.data.formats.sequence import Layout, exploded, layout_of, numbered
from weft.data.formats.tabular import WITHOUT
from weft.data.mapping import ColumnMapping
from weft.errors import SourceError

_PARTS = {"train": "train", "valid": "validation", "test": "test"}
_MAPPING = ColumnMapping.model_validate(
    {
        "interactions": {"user": "sequence_id", "item": "items"},
        "items": {"item": "item_id", "title": "title", "domain": "domain", "image": "asin"},
        "quote": None,
        "unescape": True,
    }
)


@dataclass(frozen=True)
class CrossDomain:
    """The files of one folder: the items, and for each part its file and how that is written."""

    items_file: Path
    parts: dict[str, tuple[Path, Layout]]

    @classmethod
    def find(cls, folder: Path) -> CrossDomain:
        """Looks for the four files.

        Raises:
            SourceError: If one is missing, empty or damaged, or lacks a column.
        """
        files = files_of(folder)
        if files is None:
            raise SourceError(
                f"{folder} is no cross-domain data set",
                f"give a folder with items.tsv and {', '.join(f'{part}.tsv' for part in _PARTS)} (each also .gz)",
            )
        items = files.pop("items")
        tables.check(items, _MAPPING, _MAPPING.items.named("file"), "items")
        parts = {part: (path, layout_of(path, _MAPPING)) for part, path in files.items()}
        for path, layout in parts.values():
            if not layout.header:
                raise SourceError(f"{path} has no header", "its first line must name the columns sequence_id and items")
        return cls(items, parts)

    def notes(self) -> list[str]:
        """What cannot be done."""
        return [WITHOUT["timestamp"], WITHOUT["rating"]]

    def interactions(self) -> pl.LazyFrame:
        """All events, train before validation before test (schema ``RawInteractions``).

        A user is called by part and line, as ``train-17``, since the numbers begin anew in each file.
        """
        parts = [
            exploded(path, layout).with_columns(
                user_id=pl.format("{}-{}", pl.lit(part), "user_id"), part=pl.lit(_PARTS[part])
            )
            for part, (path, layout) in self.parts.items()
        ]
        return numbered(pl.concat(parts))

    def items(self) -> pl.DataFrame:
        """The items of both shops (schema ``RawItems``); an ASIN stands as the name of the picture."""
        return tables.items(self.items_file, _MAPPING)


def files_of(folder: Path) -> dict[str, Path] | None:
    """Items and parts in that order, or None where ``folder`` lacks one."""
    found = {stem: tables.beside(folder, stem) for stem in ("items", *_PARTS)}
    return {stem: path for stem, path in found.items() if path} if all(found.values()) else None
