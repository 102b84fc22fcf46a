"""MovieLens 100K and 1M as GroupLens publishes them: a zip or the unpacked folder, told apart by their files."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from weft.data.archives import Archive
from weft.errors import SourceError

GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The flags at the end of a line of ``u.item``, in order; ``unknown`` stands for no genre."""

_RATING = ("user_id", "item_id", "rating", "timestamp")
_TYPES = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
_YEAR = r"\((\d{4})\)\s*$"


@dataclass(frozen=True)
class MovieLens:
    """Ratings and films of one archive.

    Attributes:
        archive: The zip or folder.
        ratings: Name of the ratings file in it.
        films: Name of the films file in it.
    """

    archive: Archive
    ratings: str
    films: str

    @classmethod
    def find(cls, archive: Archive) -> MovieLens:
        """Looks for the files of either edition.

        Raises:
            SourceError: If neither is there, a file is empty, or its first line has the wrong number of fields.
        """
        names = ("ratings.dat", "movies.dat") if archive.find("ratings.dat", "movies.dat") else ("u.data", "u.item")
        if archive.find(*names) is None:
            raise SourceError(
                f"{archive.path} is no MovieLens archive: neither ratings.dat nor u.data is in it",
                "give ml-1m.zip, ml-100k.zip or the folder unpacked from one, or use the format 'tabular'",
            )
        found = cls(archive, *(archive.need(name) for name in names))
        separator, fields = (b"::", (4, 3)) if found.is_1m else (b"\t", (4,))
        for name, wanted in zip(found._names[: len(fields)], fields, strict=True):
            line = archive.head(name).split(b"\n", 1)[0]
            if line.count(separator) != wanted - 1:
                raise SourceError(
                    f"{name} in {archive.path} has {line.count(separator) + 1} columns, expected {wanted}",
                    f"its first line must have {wanted} fields with {separator.decode()!r} between them",
                )
        return found

    @property
    def _names(self) -> tuple[str, str]:
        return self.ratings, self.films

    @property
    def is_1m(self) -> bool:
        """Whether this is the edition with ``::`` between fields."""
        return self.ratings.endswith(".dat")

    def interactions(self) -> pl.LazyFrame:
        """All ratings in file order (schema ``RawInteractions``). A value that cannot be read is null, a rating NaN.

        ``::`` is read as two ``:`` with an empty column between, which keeps the fast reader: 5 times as fast as a
        reader that knows longer separators. A line with something in such a column is broken: its time is null.
        """
        content = self.archive.read(self.ratings)
        if not content.isascii():
            content = content.decode("iso-8859-1").encode()
        between = ("", "a", "b", "c") if self.is_1m else ("",)
        names = [name for pair in zip(between, _RATING, strict=False) for name in pair][1:] if self.is_1m else _RATING
        broken = [pl.col(name).is_not_null() for name in between[1:]]
        time = pl.col("timestamp")
        return pl.scan_csv(
            content,
            separator=":" if self.is_1m else "\t",
            has_header=False,
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
        text = self.archive.read(self.films).decode("iso-8859-1")
        lines = pl.DataFrame({"line": text.splitlines()}).filter(pl.col("line") != "")
        fields = lines.select(pl.col("line").str.split("::" if self.is_1m else "|").alias("field"))
        field = pl.col("field").list
        if self.is_1m:
            genres = field.get(2, null_on_oob=True).str.split("|").list.filter(pl.element() != "")
            released = pl.lit(None, pl.String)
        else:
            flags = [
                pl.when(field.get(5 + k, null_on_oob=True) == "1").then(pl.lit(genre))
                for k, genre in enumerate(GENRES_100K)
                if k
            ]
            genres = pl.concat_list(flags).list.drop_nulls()
            released = field.get(2, null_on_oob=True).str.extract(r"(\d{4})$")
        title = field.get(1, null_on_oob=True)
        return fields.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
            _or_null(field.get(0)).alias("item_id"),
            _or_null(title).alias("title"),
            pl.coalesce(title.str.extract(_YEAR), released).cast(pl.Int32).alias("year"),
            genres.alias("genres"),
            *(pl.lit(None, pl.String).alias(name) for name in ("description", "domain", "image")),
        )


def _or_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)
