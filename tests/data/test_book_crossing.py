"""Book-Crossing's dump, whole and with every known quirk (``dumps.py`` lists them)."""

import math

import pytest

from tests.data import dumps
from weft.data.cleaning import clean
from weft.data.registry import BUILT_IN, specify
from weft.data.rules import CleaningRules
from weft.data.sources import open_source
from weft.errors import SourceError
from weft.schemas import RawInteractions, RawItems


@pytest.mark.parametrize("name", ["BX-CSV-Dump.zip", "folder"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_every_quirk_becomes_the_row_it_should(tmp_path, name, end):
    spec = specify(tmp_path / "storage", "mine", source=dumps.book_crossing(tmp_path / name, end))
    assert spec.format == "book-crossing"
    source = open_source(spec)
    assert [note.split(":")[0] for note in source.check()] == ["no times", "a rating of 0 says that the book was read"]
    raw, books = source.interactions().collect(), source.items()
    RawInteractions.validate(raw)
    RawItems.validate(books)
    assert raw["row"].to_list() == list(range(len(dumps.BX_RATINGS)))
    for quirk, row in zip(dumps.BX_RATINGS, raw.select("user_id", "item_id", "rating").rows(), strict=True):
        rating = "nan" if row[2] is not None and math.isnan(row[2]) else row[2]
        assert (*row[:2], rating) == quirk.row, quirk.why
    found = books.select("item_id", "title", "year", "description", "image").rows()
    for quirk, row in zip(dumps.BX_BOOKS, found, strict=True):
        assert row == quirk.row, quirk.why


def test_implicit_events_are_kept_apart_from_ratings_and_broken_rows_are_rejected_by_name(tmp_path):
    source = open_source(
        specify(tmp_path / "storage", "book-crossing", source=dumps.book_crossing(tmp_path / "BX.zip"))
    )
    rules: CleaningRules = BUILT_IN["book-crossing"].rules.model_copy(update={"max_rejected_share": 0.5})
    cleaned = clean(source.interactions(), source.items().lazy(), rules)
    assert cleaned.interactions.filter(row=1)["rating"].to_list() == [None]
    assert sorted(cleaned.interactions["rating"].drop_nulls()) == [5, 5, 5, 6, 6, 7, 7, 7, 10]
    assert cleaned.rejected.select("source", "row", "rule").rows() == [
        ("interactions", 10, "missing_item"),
        ("interactions", 11, "bad_rating"),
        ("interactions", 12, "bad_rating"),
        ("interactions", 13, "rating_out_of_range"),
        ("interactions", 14, "missing_item"),
        ("items", 14, "duplicate_item"),
    ]


def test_other_headers_are_one_clear_error_before_any_work(tmp_path):
    folder = dumps.book_crossing(tmp_path / "folder")
    (folder / "BX-Books.csv").write_text("ISBN,Title\n")
    with pytest.raises(SourceError, match=r"BX-Books\.csv in .* begins with 'ISBN,Title'"):
        open_source(specify(tmp_path / "storage", "mine", source=folder)).check()
    (folder / "BX-Books.csv").unlink()
    with pytest.raises(SourceError, match=r"holds no BX-Books\.csv"):
        open_source(specify(tmp_path / "storage", "mine", source=folder)).check()
