"""Amazon reviews of 2014, 2018 and 2023, whole and with every known quirk (``dumps.py`` lists them)."""

import gzip
import math
import tracemalloc
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tests.data import dumps
from weft.data.cleaning import clean
from weft.data.formats.amazon import is_reviews
from weft.data.registry import specify
from weft.data.sources import Source, open_source
from weft.errors import SourceError
from weft.schemas import RawInteractions, RawItems

EDITIONS = {
    "2014": ("reviews_Beauty_5.json.gz", "meta_Beauty.json.gz", dumps.REVIEWS_2014, dumps.META_2014),
    "2018": ("All_Beauty.json", "meta_All_Beauty.json", dumps.REVIEWS_2018, dumps.META_2018),
    "2023": ("All_Beauty.jsonl.gz", "meta_All_Beauty.jsonl", dumps.REVIEWS_2023, dumps.META_2023),
}


def opened(source: Path, tmp_path: Path, **more) -> Source:
    return open_source(specify(tmp_path / "storage", "mine", source=source, **more))


def read(lines: list[dumps.Quirk], tmp_path: Path) -> pl.DataFrame:
    folder = dumps.amazon(tmp_path / "dump", "reviews_X.json", "meta_X.json", lines, dumps.META_2014)
    return opened(folder, tmp_path).interactions().collect()


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("given", ["folder", "file"])
def test_every_quirk_becomes_the_row_it_should(tmp_path, monkeypatch, edition, given):
    monkeypatch.chdir(tmp_path)
    reviews, meta, lines, described = EDITIONS[edition]
    folder = dumps.amazon(tmp_path / "dump", reviews, meta, lines, described)
    spec = specify(tmp_path / "storage", "mine", source=folder if given == "folder" else folder / reviews)
    assert spec.format == "amazon"
    source = open_source(spec)
    assert source.check() == []
    raw, items = source.interactions().collect(), source.items()
    RawInteractions.validate(raw)
    RawItems.validate(items)
    assert raw["row"].to_list() == list(range(len(lines)))
    rows = raw.select("user_id", "item_id", "timestamp", "rating").rows()
    for quirk, row in zip(lines, rows, strict=True):
        found = (*row[:3], "nan" if math.isnan(row[3]) else row[3])
        assert found == quirk.row, quirk.why
    found = items.select("item_id", "title", "genres", "description", "image").rows()
    for quirk, row in zip(described, found, strict=True):
        assert row == quirk.row, quirk.why
    assert not (tmp_path / "ran").exists()


def test_a_batch_of_good_lines_and_one_with_a_broken_line_give_the_same_rows(tmp_path):
    good = [quirk for quirk in dumps.REVIEWS_2014 if quirk.row[0] and quirk.row[3] == 5.0]
    fast = read(good[:3], tmp_path)
    slow = read([*good[:3], dumps.Quirk("broken", "{", ())], tmp_path)
    assert slow.head(3).equals(fast)


def test_what_is_broken_is_rejected_by_name_and_a_second_description_too(tmp_path):
    source = opened(dumps.amazon(tmp_path / "dump", *EDITIONS["2014"]), tmp_path)
    rules = {"rating_min": 1, "rating_max": 5, "max_rejected_share": 0.6, "min_item_events": 1}
    spec = specify(tmp_path / "storage", "mine", source=tmp_path, rules=rules, format="amazon")
    cleaned = clean(source.interactions(), source.items().lazy(), spec.rules)
    broken = cleaned.rejected.filter(pl.col("source") == "interactions").group_by("rule").len().sort("rule")
    # Two rows say what the plain review says (no name, escapes in the text); ratings, times and reviewers are missing.
    assert broken.rows() == [("bad_rating", 2), ("duplicate", 2), ("missing_timestamp", 1), ("missing_user", 4)]
    assert cleaned.items["item_id"].to_list() == ["B1", "0000013714", "1e5", dumps.LONG]
    source = opened(dumps.amazon(tmp_path / "second", *EDITIONS["2018"]), tmp_path)
    items = clean(source.interactions(), source.items().lazy(), spec.rules.model_copy(update={"max_rejected_share": 1}))
    assert items.rejected.filter(pl.col("rule") == "duplicate_item")["row"].to_list() == [3]
    assert items.items["title"].to_list() == ["Soap & Water"]


def test_without_a_meta_file_the_items_have_no_titles_and_a_note_says_so(tmp_path):
    path = tmp_path / "reviews_Toys.json"
    path.write_text(dumps.review() + "\n")
    source = opened(path, tmp_path)
    assert source.check() == ["no meta file beside reviews_Toys.json: the items have no titles"]
    assert source.items().is_empty()


def test_reviews_under_any_file_name_are_read_where_the_format_is_named(tmp_path):
    path = tmp_path / "export.txt"
    path.write_text(dumps.review() + "\n")
    source = opened(path, tmp_path, format="amazon")
    assert source.check() == ["no meta file beside export.txt: the items have no titles"]
    assert len(source.interactions().collect()) == 1


def test_a_folder_with_two_reviews_files_is_refused_with_their_names(tmp_path):
    folder = dumps.amazon(tmp_path / "dump", *EDITIONS["2014"])
    (folder / "reviews_Toys.json").write_text(dumps.review())
    with pytest.raises(SourceError, match=r"found: reviews_Beauty_5\.json\.gz, reviews_Toys\.json"):
        opened(folder, tmp_path, format="amazon").check()


def test_a_download_that_was_cut_is_one_clear_error_before_any_work(tmp_path):
    folder = dumps.amazon(tmp_path / "dump", *EDITIONS["2014"])
    path = folder / "reviews_Beauty_5.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"reviews_Beauty_5\.json\.gz is damaged"):
        opened(path, tmp_path, format="amazon").check()


def test_a_gzip_bomb_is_refused(tmp_path):
    path = tmp_path / "reviews_X.json.gz"
    path.write_bytes(gzip.compress((dumps.review() + "\n").encode() + b" " * 2**23))
    with pytest.raises(SourceError, match="unpacks to over"):
        opened(path, tmp_path, format="amazon").check()


def test_a_file_that_nobody_has_checked_is_looked_at_without_reading_its_endless_line(tmp_path):
    path = tmp_path / "reviews_X.json.gz"
    path.write_bytes(gzip.compress(b" " * 2**26))
    tracemalloc.start()
    assert not is_reviews(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_json_lines_that_are_no_reviews_are_tabular(tmp_path):
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"user": "a", "item": "b"}\n'))
    source = opened(path, tmp_path)
    source.check()
    assert source.interactions().collect().select("user_id", "item_id").rows() == [("a", "b")]
    with pytest.raises(SourceError, match="holds no Amazon reviews"):
        opened(path, tmp_path, format="amazon").check()


def test_bytes_that_are_not_utf8_cost_their_character_only(tmp_path):
    path = tmp_path / "reviews_X.json"
    path.write_bytes(dumps.review(reviewText="caf?").encode().replace(b"?", b"\xe9") + b"\n" + dumps.review().encode())
    assert opened(path, tmp_path).interactions().collect()["user_id"].to_list() == ["A1", "A1"]


def test_pictures_are_found_under_the_name_in_their_address_or_under_the_id(tmp_path):
    folder = dumps.amazon(tmp_path / "dump", *EDITIONS["2018"])
    (tmp_path / "pictures").mkdir()
    for name in ("large.jpg", "B2.png"):
        Image.new("RGB", (30, 30)).save(tmp_path / "pictures" / name)
    source = opened(folder, tmp_path, images=tmp_path / "pictures")
    assert source.items()["image"].to_list() == ["large.jpg", "B2", None, None]
    assert source.images()["image"].to_list() == ["large.jpg", "B2"]
    (tmp_path / "pictures" / "large.jpg").unlink()
    # An address without a file stays, so that cleaning reports the picture as missing.
    assert opened(folder, tmp_path, images=tmp_path / "pictures").items()["image"][0] == "https://i/large.jpg"


def test_the_built_in_beauty_takes_the_official_dump_and_keeps_the_items_that_somebody_reviewed(tmp_path):
    lines = [dumps.Quirk("", dumps.review(reviewerID=user, asin=item), ()) for user, item in ("A1", "A2", "B2")]
    meta = [dumps.Quirk("", str({"asin": item, "title": item.lower()}), ()) for item in ("B1", "2", "1")]
    folder = dumps.amazon(tmp_path / "dump", "reviews_Beauty_5.json.gz", "meta_Beauty.json.gz", lines, meta)
    spec = specify(tmp_path / "storage", "amazon-beauty", source=folder)
    source = open_source(spec)
    assert source.check() == []
    cleaned = clean(source.interactions(), source.items().lazy(), spec.rules)
    assert cleaned.users["user_id"].to_list() == ["A", "B"]
    assert cleaned.items.select("item_id", "title").rows() == [("2", "2"), ("1", "1")]


def test_the_timed_extract_beside_its_titles_is_read_as_well(tmp_path):
    (tmp_path / "interactions.tsv.gz").write_bytes(gzip.compress(b"user\tasin\ttimestamp\nA1\t007\t86400\n"))
    (tmp_path / "meta.jsonl.gz").write_bytes(gzip.compress(b'{"asin": "007", "title": "Soap &amp; Water"}\n'))
    source = opened(tmp_path, tmp_path, format="amazon")
    source.check()
    assert source.interactions().collect().select("user_id", "item_id", "timestamp").rows() == [("A1", "007", 86_400)]
    assert source.items()["title"].to_list() == ["Soap & Water"]
