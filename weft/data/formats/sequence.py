"""One user per line and what they touched, oldest first: ``user<TAB>a,b,c`` or ``user a b c``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from weft.data.archives import check_gzip, need_file, open_text
from weft.data.formats import tables
from weft.data.formats.lines import lines
from weft.data.formats.tabular import WITHOUT
from weft.data.mapping import ColumnMapping
from weft.errors import SourceError


@dataclass(frozen=True)
class Layout:
    """How the lines of one file are written.

    Attributes:
        tab: Whether a tab stands between the fields; else the first space ends the user.
        user: Position of the user among the fields.
        items: Position of the items.
        between: What stands between two items: a comma, a space, or what the mapping says.
        header: Whether the first line names the columns.
    """

    tab: bool
    user: int
    items: int
    between: str
    header: bool


@dataclass(frozen=True)
class Sequences:
    """One file of sequences and perhaps one of items."""

    path: Path
    items_file: Path | None
    mapping: ColumnMapping
    layout: Layout

    @classmethod
    def find(cls, source: Path, mapping: ColumnMapping) -> Sequences:
        """``source`` is the file, or a folder with ``sequences.*`` and perhaps ``items.*`` or ``meta.*``.

        Raises:
            SourceError: If a file is missing, empty or damaged, or its first line has one field only.
        """
        path = tables.beside(source, "sequences") if source.is_dir() else source
        if path is None:
            raise SourceError(f"{source} holds no sequences file", "name it sequences.tsv or give the file")
        items = Path(mapping.items.file) if mapping.items.file else tables.beside(path.parent, "items", "meta")
        if items is not None:
            tables.check(items, mapping, mapping.items.named("file"), "items")
        return cls(path, items, mapping, layout_of(path, mapping))

    def notes(self) -> list[str]:
        """What cannot be done, and how the first line was read."""
        columns = self.mapping.interactions
        first = f"the first line of {self.path.name} counts as a sequence, not as a header"
        hint = f"a header would name the columns {columns.user!r} and {columns.item!r}"
        return [*([] if self.layout.header else [f"{first}: {hint}"]), *WITHOUT.values()]

    def interactions(self) -> pl.LazyFrame:
        """One row per item of a line, in file order (schema ``RawInteractions``), without times."""
        return numbered(exploded(self.path, self.layout))

    def items(self) -> pl.DataFrame:
        """All items in file order (schema ``RawItems``)."""
        return tables.items(self.items_file, self.mapping)


def layout_of(path: Path, mapping: ColumnMapping) -> Layout:
    """Looks at the first hundred lines. The first is a header where it names the mapped columns of user and item.

    Raises:
        SourceError: If the file is missing, empty or damaged, or the first line has one field only.
    """
    check_gzip(need_file(path))
    with open_text(path) as lines:
        head = [line.rstrip("\r\n") for line in islice(lines, 100)]
    tab = "\t" in head[0]
    fields = head[0].split("\t" if tab else None)
    if len(fields) < 2:
        raise SourceError(
            f"the first line of {path} has one field only: {head[0][:60]!r}",
            "each line needs a user, a tab, and the items with commas or spaces between them",
        )
    wanted = (mapping.interactions.user, mapping.interactions.item)
    header = all(name in fields for name in wanted)
    user, items = (fields.index(name) for name in wanted) if header else (0, 1)
    if header and len(head) == 1:
        raise SourceError(f"{path} has no rows", "get the file again")
    split = (line.split("\t") if tab else line.split(None, 1) for line in head[header:])
    texts = [parts[items] for parts in split if len(parts) > items]
    return Layout(
        tab, user, items, mapping.item_separator or ("," if any("," in each for each in texts) else " "), header
    )


def exploded(path: Path, layout: Layout) -> pl.LazyFrame:
    """``user_id`` and ``item_id``, one row per item of a line; where one of the two is not there, it is null."""
    line = pl.col("line")  # without its \n or \r\n
    fields = line.str.split("\t") if layout.tab else line.str.replace(r"\s+", "\t").str.split("\t")
    items = pl.col("fields").list.get(layout.items, null_on_oob=True)
    if layout.between == " ":
        items = items.str.strip_chars().str.replace_all(r" +", " ")
    return (
        lines(path, int(layout.header))
        .filter(line != "")
        .select(fields=fields)
        .select(
            user_id=pl.col("fields").list.get(layout.user, null_on_oob=True),
            item_id=items.str.split(layout.between),
        )
        .explode("item_id")
        .select(tables.text("user_id").alias("user_id"), tables.text("item_id").alias("item_id"))
    )


def numbered(events: pl.LazyFrame) -> pl.LazyFrame:
    """Schema ``RawInteractions``: rows are numbered as they stand, and columns that are not there are null."""
    known = events.collect_schema().names()
    return events.with_row_index("row").select(
        pl.col("row").cast(pl.Int64),
        "user_id",
        "item_id",
        pl.lit(None, pl.Int64).alias("timestamp"),
        "rating" if "rating" in known else pl.lit(None, pl.Float64).alias("rating"),
        *(name if name in known else pl.lit(None, pl.String).alias(name) for name in ("domain", "session_id", "part")),
    )
