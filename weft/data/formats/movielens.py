"""MovieLens as GroupLens publishes it, 100K to 32M: a zip or the unpacked folder, told apart by their files.

=================  =====================  ==================================================
edition            files                  written as
=================  =====================  ==================================================
100K               u.data, u.item         tab and ``|``, genres as flags, ISO-8859-1
1M, 10M            ratings.dat, movies.dat  ``::``, genres by ``|``, ISO-8859-1 (1M) or UTF-8 (10M)
20M, 25M, 32M      ratings.csv, movies.csv  CSV with a header, quoted titles, genres by ``|``, UTF-8
=================  =====================  ==================================================

In a folder the ratings are scanned from disk. In a zip they are inflated into memory as a whole, at their unpacked
size: unpack the large editions first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from weft.data.archives import Archive, Folder
from weft.errors import SourceError

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The flags at the end of a line of ``u.item``, in order; ``unknown`` stands for no genre."""

Edition = Literal["dat", "csv", "data"]

_FILES: dict[Edition, tuple[str, str]] = {
    "dat": ("ratings.dat", "movies.dat"),
    "csv": ("ratings.csv", "movies.csv"),
    "data": ("u.data", "u.item"),
}
_FIRST_LINES: dict[Edition, tuple[tuple[str, int | str], ...]] = {
    "dat": (("::", 4), ("::", 3)),
    "csv": ((",", "userId,movieId,rating,timestamp"), (",", "movieId,title,genres")),
    "data": (("\t", 4),),
}
"""What the first line of each file must be: so many fields, or exactly this header."""

_RATING = ("user_id", "item_id", "rating", "timestamp")
_TYPES = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
_YEAR = r"\((\d{4})\)\s*$"
_NO_GENRE = "(no genres listed)"


@dataclass(frozen=True)
class MovieLens:
    """Ratings and films of one archive.

    Attributes:
        archive: The zip or folder.
        edition: How the files are written.
        ratings: Name of the ratings file in it.
        films: Name of the films file in it.
    """

    archive: Archive
    edition: Edition
    ratings: str
    films: str

    @classmethod
    def find(cls, archive: Archive) -> MovieLens:
        """Looks for the files of any edition.

        Raises:
            SourceError: If none is there, a file is empty, or its first line is not what it should be.
        """
        edition = edition_of(archive)
        if edition is None:
            raise SourceError(
                f"{archive.path} is no MovieLens archive: none of ratings.dat, ratings.csv and u.data is in it",
                "give ml-1m.zip, ml-20m.zip, ml-100k.zip or the folder unpacked from one, or use the format 'tabular'",
            )
        found = cls(archive, edition, *(archive.need(name) for name in _FILES[edition]))
        for name, first in zip((found.ratings, found.films), _FIRST_LINES[edition], strict=False):
            found._check(name, *first)
        return found

    def _check(self, name: str, separator: str, wanted: int | str) -> None:
        line = self.archive.head(name).split(b"\n", 1)[0].decode("iso-8859-1").removeprefix("ï»¿").strip("\r")
        if isinstance(wanted, str) and line != wanted:
            raise SourceError(
                f"{name} in {self.archive.path} begins with {line[:60]!r}, expected {wanted!r}",
                "its first line must be the header that GroupLens writes",
            )
        if isinstance(wanted, int) and line.count(separator) != wanted - 1:
            raise SourceError(
                f"{name} in {self.archive.path} has {line.count(separator) + 1} columns, expected {wanted}",
                f"its first line must have {wanted} fields with {separator!r} between them",
            )

    def notes(self) -> list[str]:
        """Nothing is missing."""
        return []

    def interactions(self) -> pl.LazyFrame:
        """All ratings in file order (schema ``RawInteractions``). A value that cannot be read is null, a rating NaN.

        ``::`` is read as two ``:`` with an empty column between, which keeps the fast reader: 5 times as fast as a
        reader that knows longer separators. A line with something in such a column is broken: its time is null.
        """
        dat = self.edition == "dat"
        between = ("", "a", "b", "c") if dat else ("",)
        names = [name for pair in zip(between, _RATING, strict=False) for name in pair][1:] if dat else _RATING
        broken = [pl.col(name).is_not_null() for name in between[1:]]
        time = pl.col("timestamp")
        return pl.scan_csv(
            _scannable(self.archive, self.ratings),
            separator={"dat": ":", "csv": ",", "data": "\t"}[self.edition],
            has_header=False,
            skip_rows=int(self.edition == "csv"),
            schema={name: _TYPES.get(name, pl.String) for name in names},
            quote_char=None,
            ignore_errors=True,
            truncate_ragged_lines=True,
            row_index_name="row",
        ).select(
            pl.col("row").cast(pl.Int64),
            "user_id",
            "item_id",
            pl.when(~pl.any_horizontal(broken)).then(time).alias("timestamp") if broken else time,
            pl.col("rating").fill_null(float("nan")),
            *(pl.lit(None, pl.String).alias(name) for name in ("domain", "session_id", "part")),
        )

    def items(self) -> pl.DataFrame:
        """All films in file order (schema ``RawItems``); the year is that of the title, else of the release."""
        content = self.archive.read(self.films)
        if self.edition == "csv":
            fields = pl.read_csv(content, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
            ids, title, genres = pl.col("movieId"), pl.col("title"), pl.col("genres").str.split("|")
        else:
            text = _text(content).replace("\r\n", "\n")  # splitlines would also break at \x85, an ellipsis in cp1252
            lines = pl.DataFrame({"line": text.split("\n")}).filter(pl.col("line") != "")
            fields = lines.select(pl.col("line").str.split("::" if self.edition == "dat" else "|").alias("field"))
            parts = pl.col("field").list
            ids, title = parts.get(0), parts.get(1, null_on_oob=True)
            genres = (
                parts.get(2, null_on_oob=True).str.split("|") if self.edition == "dat" else _flagged(pl.col("field"))
            )
        released = pl.lit(None, pl.String)
        if self.edition == "data":
            released = pl.col("field").list.get(2, null_on_oob=True).str.extract(r"(\d{4})$")
        return fields.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
            _or_null(ids).alias("item_id"),
            _or_null(title).alias("title"),
            pl.coalesce(title.str.extract(_YEAR), released).cast(pl.Int32).alias("year"),
            genres.list.filter(~pl.element().is_in(["", _NO_GENRE])).alias("genres"),
            *(pl.lit(None, pl.String).alias(name) for name in ("description", "domain", "image")),
        )


def edition_of(archive: Archive) -> Edition | None:
    """The edition whose files ``archive`` holds; half of them is enough, so that the missing one can be named."""
    return next((edition for edition, files in _FILES.items() if archive.find(*files)), None)


def _scannable(archive: Archive, name: str) -> Path | bytes:
    """The file on disk where it is plain ASCII, so that it is never held in memory; else its content as UTF-8."""
    if isinstance(archive, Folder) and (path := archive.path / name) and _is_ascii(path):
        return path
    content = archive.read(name)
    return content if content.isascii() else _text(content).encode()


def _is_ascii(path: Path) -> bool:
    with path.open("rb") as stream:
        return all(chunk.isascii() for chunk in iter(lambda: stream.read(2**22), b""))


def _text(content: bytes) -> str:
    """UTF-8, as the newer editions are, else ISO-8859-1, whose accents are next to never valid UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("iso-8859-1")


def _flagged(fields: pl.Expr) -> pl.Expr:
    """The genres whose flag, from the sixth field on, is 1."""
    flags = [
        pl.when(fields.list.get(5 + k, null_on_oob=True) == "1").then(pl.lit(genre))
        for k, genre in enumerate(GENRES_100K)
        if k
    ]
    return pl.concat_list(flags).list.drop_nulls()


def _or_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)
