"""Amazon product reviews of 2014, 2018 and 2023: one reviews file and its meta file, told apart by their fields.

=====  ==========================================  ======================================================
year   reviews                                     meta
=====  ==========================================  ======================================================
2014   reviewerID, asin, overall, unixReviewTime   Python literals: asin, title, categories (nested), imUrl
2018   the same, and verified                      asin, title, description and category lists, imageURL
2023   user_id, parent_asin, rating, timestamp     parent_asin, title, main_category, categories, images
       (milliseconds)
=====  ==========================================  ======================================================

Files are JSON lines, plain or gzip. Items of 2023 are called by ``parent_asin``, which is what their meta file
describes. A folder with ``interactions.tsv.gz`` (user, asin, timestamp) and ``meta.jsonl.gz`` (asin, title) is
read too.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from weft.data.archives import check_gzip, need_file, open_text
from weft.data.formats import json_lines, tables
from weft.data.formats.tabular import Tabular
from weft.data.mapping import JSON_ENDINGS, ColumnMapping
from weft.errors import SourceError
from weft.schemas import RawItems

_CLASSIC = {"user": "reviewerID", "item": "asin", "rating": "overall", "time": "unixReviewTime"}
_NEW = {"user": "user_id", "item": "parent_asin", "rating": "rating", "time": "timestamp"}
_PER_SECOND = {"unixReviewTime": 1, "timestamp": 1000}
_EXTRACT = ColumnMapping.model_validate(
    {
        "interactions": {"user": "user", "item": "asin", "timestamp": "timestamp"},
        "items": {"item": "asin", "title": "title"},
        "quote": None,
        "unescape": True,
    }
)


@dataclass(frozen=True)
class Amazon:
    """One reviews file and perhaps its meta file.

    Attributes:
        reviews: JSON lines.
        meta: JSON lines or Python literals.
        names: What the fields of a review are called.
    """

    reviews: Path
    meta: Path | None
    names: dict[str, str]

    def notes(self) -> list[str]:
        """What is missing."""
        return [] if self.meta else [f"no meta file beside {self.reviews.name}: the items have no titles"]

    def interactions(self) -> pl.LazyFrame:
        """All reviews in file order (schema ``RawInteractions``), read as a stream; a rating of no number is NaN."""
        names = self.names
        fields = {
            names["user"]: pl.String,
            names["item"]: pl.String,
            names["rating"]: pl.Float64,
            names["time"]: pl.Int64,
        }
        rating = pl.col(names["rating"]).fill_null(float("nan"))
        return (
            json_lines.scan(self.reviews, fields)
            .with_row_index("__row")
            .select(
                pl.col("__row").cast(pl.Int64).alias("row"),
                tables.text(names["user"]).alias("user_id"),
                tables.text(names["item"]).alias("item_id"),
                (pl.col(names["time"]) // _PER_SECOND[names["time"]]).alias("timestamp"),
                rating.alias("rating"),
                *(pl.lit(None, pl.String).alias(name) for name in ("domain", "session_id", "part")),
            )
        )

    def items(self) -> pl.DataFrame:
        """All items of the meta file in its order (schema ``RawItems``); ``image`` is the address of a picture."""
        if self.meta is None:
            return RawItems.create_empty()
        rows = [
            (
                row,
                _first(each, "parent_asin", "asin"),
                _title(_first(each, "title")),
                None,
                _categories(each) or None,
                _joined(each.get("description")),
                None,
                _picture(each),
            )
            for row, each in enumerate(json_lines.objects(self.meta))
        ]
        items = pl.DataFrame(rows, schema=RawItems.create_empty().schema, orient="row")
        return items.with_columns(
            tables.text("item_id").alias("item_id"),
            tables.unescaped(pl.col("title")).alias("title"),
            tables.unescaped(pl.col("description")).alias("description"),
        )


def find(source: Path) -> Amazon | Tabular:
    """The reviews that ``source`` is, or that lie in it, with the meta file beside them.

    Raises:
        SourceError: If there are none, or several, or a file is empty or damaged.
    """
    if source.is_dir() and tables.beside(source, "interactions") is not None:
        meta = tables.beside(source, "meta")
        items = _EXTRACT.items.model_copy(update={"file": None if meta is None else str(meta)})
        return Tabular.find(source, _EXTRACT.model_copy(update={"items": items}))
    found = reviews_in(source) if source.is_dir() else [source]
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise SourceError(
            f"{source} holds no single file of Amazon reviews; found: {listed}",
            "give one file such as reviews_Beauty_5.json.gz, with meta_Beauty.json.gz beside it",
        )
    reviews = found[0]
    check_gzip(need_file(reviews))
    names = _names(reviews)
    if names is None:
        raise SourceError(
            f"{reviews} holds no Amazon reviews",
            f"each line must be JSON with {', '.join(_CLASSIC.values())} or {', '.join(_NEW.values())}",
        )
    meta = _meta_of(reviews)
    return Amazon(reviews, None if meta is None else check_gzip(need_file(meta)), names)


def reviews_in(folder: Path) -> list[Path]:
    """The files of Amazon reviews in ``folder``, by name."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and is_reviews(path)]


def is_reviews(path: Path) -> bool:
    """Whether one of the first lines of a file has the fields of a review."""
    return path.name.lower().endswith(JSON_ENDINGS) and path.is_file() and _names(path) is not None


def _names(path: Path) -> dict[str, str] | None:
    """What the fields of a review are called in this file; a broken line at its top is no reason to give up."""
    try:
        with open_text(path) as lines:
            head = [json_lines.parsed(lines.readline(2**20)) for _ in range(20)]
    except (OSError, EOFError, zlib.error):
        return None
    return next(
        (names for names in (_CLASSIC, _NEW) if any(names["user"] in each and names["item"] in each for each in head)),
        None,
    )


def _meta_of(reviews: Path) -> Path | None:
    """``meta_X`` for the reviews ``reviews_X_5``, ``reviews_X``, ``X_5`` or ``X``."""
    ending = max((end for end in JSON_ENDINGS if reviews.name.lower().endswith(end)), key=len, default="")
    category = reviews.name[: len(reviews.name) - len(ending)].removeprefix("reviews_").removesuffix("_5")
    paths = (reviews.parent / f"meta_{category}{end}" for end in JSON_ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def _first(item: dict[str, Any], *names: str) -> str | None:
    return next((str(item[name]) for name in names if item.get(name) is not None), None)


def _title(title: str | None) -> str | None:
    """A title; some of 2018 are a piece of the page's HTML or script, which tells nothing about the item."""
    garbage = title is not None and (title.lstrip().startswith("<") or "getTime" in title)
    return None if garbage else title


def _texts(value: Any) -> list[str]:
    """The texts in a text, a list or lists in a list, in order, each once."""
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if isinstance(value, Iterable) and not isinstance(value, dict):
        return list(dict.fromkeys(text for each in value for text in _texts(each)))
    return []


def _categories(item: dict[str, Any]) -> list[str]:
    """The categories, or the main one where none are listed; a category of 2018 may be a piece of HTML."""
    found = _texts(item.get("categories") or item.get("category")) or _texts(item.get("main_category"))
    return [each for each in found if "<" not in each]


def _joined(description: Any) -> str | None:
    return " ".join(_texts(description)) or None


def _picture(item: dict[str, Any]) -> str | None:
    """The address of the first large picture. 2023 has a list of sizes, or one list per size."""
    images = item.get("images")
    if isinstance(images, dict):
        images = [{"large": each} for each in images.get("large") or []]
    sizes = [each for each in images or [] if isinstance(each, dict)]
    listed = [each.get(size) for size in ("large", "hi_res", "thumb") for each in sizes]
    classic = [item.get(name) for name in ("imUrl", "imageURLHighRes", "imageURL")]
    return next(iter(_texts([each for each in listed + classic if each])), None)
