r"""Book-Crossing as Ziegler published it: BX-CSV-Dump.zip, or a folder with BX-Book-Ratings.csv and BX-Books.csv.

The files are dumps of MySQL, not CSV as a reader of CSV knows it: ISO-8859-1, every field in quotes with ``;`` between
them, quotes inside a field written ``\"`` or left bare, NULL without quotes, and three books whose title ends with a
backslash and so swallowed its author. A line is therefore cut at ``";"`` and never parsed by quotes.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from weft.data.archives import Archive
from weft.data.formats import tables
from weft.data.formats.sequence import numbered
from weft.data.formats.tabular import WITHOUT
from weft.errors import SourceError

RATINGS, BOOKS = "BX-Book-Ratings.csv", "BX-Books.csv"
_HEADERS = {
    RATINGS: '"User-ID";"ISBN";"Book-Rating"',
    BOOKS: '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";'
    '"Image-URL-S";"Image-URL-M";"Image-URL-L"',
}
_YEARS = (1450, 2005)
"""No book was printed before the first, and the crawl is of 2004: other years (0, 1376, 2037, 2050) are mistakes."""


@dataclass(frozen=True)
class BookCrossing:
    """The two files of one archive; BX-Users.csv (places and ages) is not read."""

    archive: Archive
    ratings: str
    books: str

    @classmethod
    def find(cls, archive: Archive) -> BookCrossing:
        """Looks for the files and at their headers.

        Raises:
            SourceError: If one is missing or empty, or its header is another.
        """
        found = cls(archive, archive.need(RATINGS), archive.need(BOOKS))
        for name, wanted in zip((found.ratings, found.books), _HEADERS.values(), strict=True):
            line = archive.head(name).split(b"\n", 1)[0].decode("iso-8859-1").rstrip("\r")
            if line != wanted:
                raise SourceError(
                    f"{name} in {archive.path} begins with {line[:60]!r}, expected {wanted!r}",
                    "give the files of BX-CSV-Dump.zip as they were published",
                )
        return found

    def notes(self) -> list[str]:
        """What cannot be done."""
        return [WITHOUT["timestamp"], "a rating of 0 says that the book was read: the event is kept without a rating"]

    def interactions(self) -> pl.LazyFrame:
        """All ratings in file order (schema ``RawInteractions``), without times.

        0, which stands for "implicit", is null; what is no number is NaN.
        """
        fields = _fields()
        stated = _unquoted(fields.list.last())
        value = stated.cast(pl.Float64, strict=False)
        broken = value.is_null() | (fields.list.len() < 3)
        events = self._lines(self.ratings).select(
            user_id=_unquoted(fields.list.first()),
            item_id=_unquoted(fields.list.slice(1, fields.list.len() - 2).list.join(";")),
            rating=pl.when(broken).then(float("nan")).when(value != 0).then(value),
        )
        return numbered(events)

    def items(self) -> pl.DataFrame:
        """All books in file order (schema ``RawItems``); the description is the author with the publisher."""
        fields = _fields()
        count = fields.list.len()
        # ISBN; title and author; year, publisher and three addresses. Only the middle is ever cut wrongly.
        middle = fields.list.slice(1, count - 6)
        swallowed = middle.list.join('";"')
        whole = middle.list.len() == 1
        author = pl.when(whole).then(swallowed.str.extract(r'\\";(.*)$')).otherwise(middle.list.last())
        title = (
            pl.when(whole)
            .then(swallowed.str.replace(r'\\";.*$', ""))
            .otherwise(middle.list.head(middle.list.len() - 1).list.join(";"))
        )
        complete = count >= 7
        year = fields.list.get(-5, null_on_oob=True).cast(pl.Int32, strict=False)
        parts = self._lines(self.books).select(
            item_id=_unquoted(fields.list.first()),
            title=tables.unescaped(
                _unquoted(pl.when(complete).then(title).otherwise(fields.list.get(1, null_on_oob=True)))
            ),
            author=tables.unescaped(_unquoted(pl.when(complete).then(author))),
            publisher=tables.unescaped(_unquoted(pl.when(complete).then(fields.list.get(-4, null_on_oob=True)))),
            year=pl.when(complete & year.is_between(*_YEARS)).then(year),
            image=_unquoted(pl.when(complete).then(fields.list.last())),
        )
        publisher = pl.when(pl.col("publisher").is_not_null()).then(pl.format(" ({})", "publisher"))
        return parts.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
            "item_id",
            "title",
            "year",
            pl.lit(None, pl.List(pl.String)).alias("genres"),
            pl.concat_str("author", publisher.fill_null("")).alias("description"),
            pl.lit(None, pl.String).alias("domain"),
            "image",
        ).collect()

    def _lines(self, name: str) -> pl.LazyFrame:
        """The lines of a file without its header, as column ``line``."""
        text = self.archive.read(name).decode("iso-8859-1")
        lines = pl.LazyFrame({"line": text.split("\n")[1:]}, schema={"line": pl.String})
        return lines.with_columns(pl.col("line").str.strip_chars()).filter(pl.col("line") != "")


def _fields() -> pl.Expr:
    """The fields of a line, still escaped."""
    quoted = pl.col("line").str.replace_all('";NULL', '";""', literal=True)
    return quoted.str.strip_prefix('"').str.strip_suffix('"').str.split('";"')


def _unquoted(field: pl.Expr) -> pl.Expr:
    r"""A field without the marks of the dump (``\"`` and ``\\``), null where nothing is left."""
    plain = field.str.replace_all(r'\\(["\\])', "${1}").str.strip_chars()
    return pl.when(plain != "").then(plain)
