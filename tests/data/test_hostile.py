"""Files that nobody would send on purpose: what cannot be used is refused by name, and nothing stops the rest.

Archives and packed bombs: ``test_archives.py``. Pictures: ``test_images.py``. Writes and disks: ``tests/faults``.
"""

from pathlib import Path

import pytest

from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data.cleaning import Cleaned, clean
from weft.data.registry import specify
from weft.data.sources import open_source
from weft.errors import SourceError, WeftError

HEAD = "user,item,t,r\n"
FULL = {"interactions": {"timestamp": "t", "rating": "r"}}
LENIENT = {"max_rejected_share": 0.95, "rating_min": 1, "rating_max": 5}


def cleaned(folder: Path, content: str | bytes, mapping: dict | None = None, **rules: float) -> Cleaned:
    """A CSV through reading and cleaning; what it says of items stands in ``items.csv`` beside it, if anything does."""
    file = folder / "events.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    spec = specify(folder, "mine", source=file, mapping=FULL if mapping is None else mapping, rules=LENIENT | rules)
    source = open_source(spec)
    source.check()
    return clean(source.interactions(), source.items().lazy(), spec.rules)


def accepted(table: Cleaned) -> list[tuple]:
    """Row, user, item, time and rating, by row."""
    events = table.interactions.join(table.users, on="user").join(table.items.select("item", "item_id"), on="item")
    return events.sort("row").select("row", "user_id", "item_id", "timestamp", "rating").rows()


def refused(table: Cleaned) -> list[tuple]:
    return table.rejected.select("row", "rule").rows()


def test_bytes_that_are_no_utf8_become_a_mark_and_the_row_stays(tmp_path) -> None:
    table = cleaned(tmp_path, (HEAD + "a,caf\xe9,1,5\nb,x,2,4\n").encode("latin-1"))
    assert accepted(table) == [(0, "a", "caf\ufffd", 1, 5.0), (1, "b", "x", 2, 4.0)]
    assert refused(table) == []


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path) -> None:
    assert accepted(cleaned(tmp_path, b"\xef\xbb\xbf" + HEAD.encode() + b"a,x,1,5\n")) == [(0, "a", "x", 1, 5.0)]


def test_utf16_is_refused_with_the_columns_that_were_found(tmp_path) -> None:
    with pytest.raises(SourceError, match="has no column 'user'"):
        cleaned(tmp_path, (HEAD + "a,x,1,5\n").encode("utf-16"))


def test_windows_and_unix_line_ends_may_be_mixed(tmp_path) -> None:
    table = cleaned(tmp_path, "user,item,t,r\r\na,x,1,5\r\nb,x,2,4\nc,x,3,3\r\n")
    assert accepted(table) == [(0, "a", "x", 1, 5.0), (1, "b", "x", 2, 4.0), (2, "c", "x", 3, 3.0)]
    assert refused(table) == []


@pytest.mark.parametrize(
    ("content", "mapping", "rule"),
    [
        ("user,item,t,r\na,x,1,5\rb,y,2,4\nc,x,3,4\n", FULL, "bad_rating"),
        ("user,item\na,x\rb,y\nc,x\n", {}, "unprintable_id"),
    ],
)
def test_two_lines_with_a_lone_carriage_return_between_them_are_refused_and_never_read_as_one(
    tmp_path, content, mapping, rule
) -> None:
    table = cleaned(tmp_path, content, mapping)
    assert [row[:3] for row in accepted(table)] == [(1, "c", "x")]
    assert refused(table) == [(0, rule)]


def test_a_file_with_carriage_returns_alone_is_refused_before_any_work(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"has no (column|rows)"):
        cleaned(tmp_path, "user,item\ra,x\rb,y\r", {})


@pytest.mark.parametrize("time", ["auto", "s"])  # one looks at the file for how times are written, the other does not
def test_a_quote_that_is_never_closed_is_one_clear_error_and_nothing_is_written(tmp_path, time) -> None:
    (tmp_path / "events.csv").write_text(HEAD + 'a,x,1,5\nb,"x,2,4\nc,x,3,4\n')
    source = open_source(specify(tmp_path, "mine", source=tmp_path / "events.csv", mapping=FULL | {"time": time}))
    store = ArtifactStore(tmp_path / "storage")
    with pytest.raises(WeftError, match=r"cannot be (read|made)") as caught:
        store.write("interactions.raw_interactions", Cell("mine"), source.interactions())
    assert "a quote that is never closed?" in caught.value.remedy
    assert not store.exists("interactions.raw_interactions", Cell("mine"))


def test_ids_with_nul_bytes_or_line_ends_are_refused_as_unprintable(tmp_path) -> None:
    table = cleaned(tmp_path, HEAD + 'a\0b,x,1,5\nb,x\0,2,4\nc,x,3,4\n"d\ne",x,4,4\na\0b,x,1,5\n')
    assert accepted(table) == [(2, "c", "x", 3, 4.0)]
    assert refused(table) == [
        (0, "unprintable_id"),
        (1, "unprintable_id"),
        (3, "unprintable_id"),
        (4, "unprintable_id"),
    ]
    assert "a\\u0000b" in table.rejected["content"][0]


def test_items_with_a_nul_in_their_id_are_refused(tmp_path) -> None:
    (tmp_path / "goods.csv").write_bytes(b"item,title\nx,X\ny\0,Y\n")
    mapping = FULL | {"items": {"file": str(tmp_path / "goods.csv"), "title": "title"}}
    table = cleaned(tmp_path, HEAD + "a,x,1,5\n", mapping)
    assert table.items["item_id"].to_list() == ["x"]
    assert table.rejected.select("source", "row", "rule").rows() == [("items", 1, "unprintable_id")]


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_field_of_ten_megabytes_is_read_and_never_repeated_in_an_error(tmp_path, quote) -> None:
    long = "x" * 10_000_000
    table = cleaned(tmp_path, f"{HEAD}a,{quote}{long}{quote},1,5\nb,y,2,4\n")
    assert [len(row[2]) for row in accepted(table)] == [10_000_000, 1]
    with pytest.raises(SourceError) as caught:
        cleaned(tmp_path, f"{HEAD}a,{quote}{long}{quote},1,9\n")
    assert len(str(caught.value)) < 1_000


def test_ids_are_text_whatever_they_look_like(tmp_path) -> None:
    long = "l" * 1_000
    users = ["None", "nan", "NULL", "null", "1e5", "007", "-0", "\U0001f600", "\u202eabc", long]
    table = cleaned(tmp_path, HEAD + "".join(f"{user},x,{k},5\n" for k, user in enumerate(users)))
    assert table.users["user_id"].to_list() == users
    assert refused(table) == []


def test_exact_repetitions_are_refused_once_each_and_repeat_purchases_stay(tmp_path) -> None:
    table = cleaned(tmp_path, HEAD + "a,x,1,5\na,x,2,5\na,x,1,5\na,x,1,4\na,x,1,5\n")
    assert [row[0] for row in accepted(table)] == [0, 1, 3]
    assert refused(table) == [(2, "duplicate"), (4, "duplicate")]


def test_ratings_that_are_no_numbers_or_out_of_range_are_refused_and_a_missing_one_is_not(tmp_path) -> None:
    table = cleaned(tmp_path, HEAD + "a,x,1,nan\na,y,2,inf\na,z,3,-1\na,w,4,5\na,v,5,5.001\na,u,6,\na,t,7,five\n")
    assert accepted(table) == [(3, "a", "w", 4, 5.0), (5, "a", "u", 6, None)]
    assert [rule for _, rule in refused(table)] == [
        "bad_rating", "bad_rating", "rating_out_of_range", "rating_out_of_range", "bad_rating"
    ]  # fmt: skip


def test_times_before_1970_in_the_year_9999_or_no_numbers_are_refused(tmp_path) -> None:
    times = ["-1", "253402300799", "1700000000000", "nan", "inf", "9" * 23, "4102444800", "1e9"]
    table = cleaned(tmp_path, HEAD + "".join(f"a,i{k},{time},5\n" for k, time in enumerate(times)))
    assert [row[3] for row in accepted(table)] == [4_102_444_800, 1_000_000_000]
    assert [rule for _, rule in refused(table)] == ["bad_timestamp"] * 3 + ["missing_timestamp"] * 3


@pytest.mark.parametrize(
    ("factor", "unit", "name"), [(10**3, "ms", "milliseconds"), (10**6, "us", "micro"), (10**9, "ns", "nano")]
)
def test_a_file_whose_times_are_in_another_unit_is_told_which(tmp_path, factor, unit, name) -> None:
    text = HEAD + "".join(f"a,i{k},{(1_700_000_000 + k) * factor},5\n" for k in range(20))
    with pytest.raises(SourceError, match=rf"look like {name}\w*: map time: {unit}$"):
        cleaned(tmp_path, text, max_rejected_share=0.05)
    assert accepted(cleaned(tmp_path, text, FULL | {"time": unit}))[0][3] == 1_700_000_000


def test_negative_times_are_not_taken_for_another_unit(tmp_path) -> None:
    text = HEAD + "".join(f"a,i{k},-{1_700_000_000_000 + k},5\n" for k in range(20))
    with pytest.raises(SourceError, match="bad_timestamp") as caught:
        cleaned(tmp_path, text)
    assert "map time" not in caught.value.remedy


def test_a_user_with_one_interaction_stays_and_is_trained_on_and_never_asked(tmp_path) -> None:
    from weft.evaluation.protocols import protocol  # noqa: PLC0415  # the one test that splits

    table = cleaned(tmp_path, HEAD + "one,x,1,5\nmany,x,2,5\nmany,y,3,5\nmany,z,4,5\n")
    splits = protocol("leave_one_out").split(table.interactions.lazy()).collect()
    assert splits.filter(user=1).select("split", "target").rows() == [("train", False)]
    assert splits.filter(user=2)["split"].to_list() == ["train", "validation", "test"]


def test_an_item_table_with_duplicates_keeps_the_first_of_each(tmp_path) -> None:
    (tmp_path / "goods.csv").write_text("item,title\nx,First\ny,Y\nx,Second\nx,First\n")
    mapping = FULL | {"items": {"file": str(tmp_path / "goods.csv"), "title": "title"}}
    table = cleaned(tmp_path, HEAD + "a,x,1,5\n", mapping)
    assert table.items.select("item", "item_id", "title").rows() == [(1, "x", "First"), (2, "y", "Y")]
    assert refused(table) == [(2, "duplicate_item"), (3, "duplicate_item")]


def test_lines_with_too_many_or_too_few_fields_cost_no_other_line(tmp_path) -> None:
    table = cleaned(tmp_path, HEAD + "a,x,1,5,more,and more\nb,x\n,,,\n\nc,x,2,4\n")
    assert [row[1] for row in accepted(table)] == ["a", "c"]
    assert [rule for _, rule in refused(table)] == ["missing_timestamp", "missing_user", "missing_user"]
