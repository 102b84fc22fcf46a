"""One user per line: layouts that are found by looking, and lines that are not as they should be."""

import gzip
from pathlib import Path

import pytest

from pipelines.runs import chosen_systems
from weft.data.cleaning import clean
from weft.data.registry import specify
from weft.data.sources import Source, open_source
from weft.errors import RequestError, SourceError
from weft.schemas import RawInteractions

ROWS = [("007", "a"), ("007", "b"), ("bob", "a"), ("bob", "1e5"), ("bob", "c")]


def opened(source: Path, tmp_path: Path, **mapping) -> Source:
    spec = specify(tmp_path / "storage", "mine", source=source, format="sequence-tsv", mapping=mapping)
    assert not spec.has_times
    assert not spec.has_ratings
    return open_source(spec)


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("user\titem\n007\ta,b\nbob\ta,1e5,c\n", {}),
        (
            "who\tkind\twhat\r\n\r\n007\tx\ta b\r\nbob\ty\ta 1e5 c\r\n",
            {"interactions": {"user": "who", "item": "what"}},
        ),
        ("007\ta,b\nbob\ta, 1e5 ,c", {}),
        ("\ufeffuser\titem\n007\ta,b\nbob\ta,1e5,c\n", {}),
        ("007 a b\nbob a  1e5 c \n\n", {}),
        ("007\ta|b\nbob\ta|1e5|c\n", {"item_separator": "|"}),
    ],
)
@pytest.mark.parametrize("name", ["sequences.tsv", "sequences.tsv.gz"])
def test_every_layout_gives_the_same_rows_in_the_order_of_the_file(tmp_path, text, mapping, name):
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    for given in (tmp_path, tmp_path / name):
        source = opened(given, tmp_path, **mapping)
        source.check()
        raw = source.interactions().collect()
        RawInteractions.validate(raw)
        assert raw.select("user_id", "item_id").rows() == ROWS
        assert raw["row"].to_list() == list(range(5))
        assert raw["timestamp"].null_count() == 5


def test_a_first_line_that_names_no_mapped_columns_is_a_sequence_and_a_note_says_so(tmp_path):
    (tmp_path / "a.tsv").write_text("uid\titems\nu\tx,y\n")
    source = opened(tmp_path / "a.tsv", tmp_path)
    assert "the first line of a.tsv counts as a sequence" in source.check()[0]
    assert source.interactions().collect()["user_id"].to_list() == ["uid", "u", "u"]
    source = opened(tmp_path / "a.tsv", tmp_path, interactions={"user": "uid", "item": "items"})
    assert source.check()[0].startswith("no times")
    assert source.interactions().collect()["user_id"].to_list() == ["u", "u"]


def test_lines_that_lack_something_become_rows_that_cleaning_rejects(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"u\tx,,y\nv\t\nw\n\tz\nn\xe9\tx\x1f\n")
    source = opened(tmp_path / "a.tsv", tmp_path)
    source.check()
    rules = specify(tmp_path, "s", source="a.tsv", rules={"max_rejected_share": 0.9}).rules
    cleaned = clean(source.interactions(), source.items().lazy(), rules)
    assert cleaned.rejected.select("row", "rule").rows() == [
        (1, "missing_item"),
        (3, "missing_item"),
        (4, "missing_item"),
        (5, "missing_user"),
    ]
    assert cleaned.users["user_id"].to_list() == ["u", "n\ufffd"]


def test_items_beside_the_sequences_are_found_and_their_entities_become_characters(tmp_path):
    (tmp_path / "sequences.tsv").write_text("u\tx,y\n")
    (tmp_path / "meta.jsonl").write_text('{"asin": "x", "title": "A &amp; B"}\n{"asin": "y", "title": " "}\n')
    source = opened(tmp_path, tmp_path, items={"item": "asin", "title": "title"}, unescape=True)
    source.check()
    assert source.items().select("item_id", "title").rows() == [("x", "A & B"), ("y", None)]


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "is empty"), ("lonely\n", "has one field only: 'lonely'"), ("user\titem\n", "has no rows")],
)
def test_a_file_that_cannot_be_used_is_one_clear_error_before_any_work(tmp_path, text, why):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(SourceError, match=why):
        opened(tmp_path / "a.tsv", tmp_path).check()


def test_systems_that_need_times_are_left_out_of_all_and_refused_by_name(tmp_path):
    spec = specify(tmp_path, "mine", source="a.tsv", format="sequence-tsv")
    assert "itemknn" in chosen_systems("all", spec)
    assert "recent_popularity" not in chosen_systems("all", spec)
    with pytest.raises(RequestError, match="recent_popularity needs timestamps and this data set has none"):
        chosen_systems("recent_popularity", spec)


def test_a_folder_without_sequences_is_refused(tmp_path):
    with pytest.raises(SourceError, match="holds no sequences file"):
        opened(tmp_path, tmp_path).check()
