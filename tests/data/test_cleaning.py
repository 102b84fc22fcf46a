"""Cleaning on tables that one can read, and the sum that must always come out: accepted + rejected = input."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.data.cleaning import clean
from weft.data.rules import CleaningRules
from weft.errors import SourceError
from weft.progress import LogProgress
from weft.schemas import Interactions, Items, RawInteractions, RawItems, Rejected, Users

LENIENT = CleaningRules(rating_min=1, rating_max=5, max_rejected_share=1.0)


def log(*rows: tuple, columns: tuple = ("user_id", "item_id", "timestamp", "rating")) -> pl.LazyFrame:
    table = pl.DataFrame(
        rows, schema={name: RawInteractions.create_empty().schema[name] for name in columns}, orient="row"
    )
    missing = {name: dtype for name, dtype in RawInteractions.create_empty().schema.items() if name not in columns}
    table = table.with_columns(*(pl.lit(None, dtype).alias(name) for name, dtype in missing.items()))
    return table.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64)).select(RawInteractions.column_names()).lazy()


def shelf(*ids: str | None, domain: str | None = None, image: str | None = None) -> pl.LazyFrame:
    rows = [
        {"row": k, "item_id": name, "title": f"Title {name}", "domain": domain, "image": image and f"{name}.jpg"}
        for k, name in enumerate(ids)
    ]
    return pl.DataFrame(rows, schema=RawItems.create_empty().schema).lazy()


def test_users_and_unlisted_items_are_numbered_by_time_and_the_catalogue_by_its_table() -> None:
    events = log(("b", "new2", 30, 1), ("a", "x", 10, 1), ("b", "new1", 20, 1), ("c", "x", 10, 1))
    cleaned = clean(events, shelf("untouched", "x"), LENIENT)
    assert cleaned.users.rows() == [(1, "a"), (2, "c"), (3, "b")]  # a and c share a second: the row decides
    assert cleaned.items.select("item", "item_id", "title").rows() == [
        (1, "untouched", "Title untouched"), (2, "x", "Title x"), (3, "new1", None), (4, "new2", None),
    ]  # fmt: skip
    assert cleaned.interactions.select("row", "user", "item").rows() == [(1, 1, 2), (3, 2, 2), (2, 3, 3), (0, 3, 4)]
    assert cleaned.rejected.is_empty()


def test_each_rule_rejects_its_row_with_name_reason_and_content() -> None:
    events = log(
        ("a", "x", 10, 3), (None, "x", 10, 3), ("", "x", 10, 3), ("a", None, 10, 3), ("a", "x", None, 3),
        ("a", "x", -1, 3), ("a", "x", 1_700_000_000_000, 3), ("a", "x", 10, 6), ("a", "x", 10, float("nan")),
        ("a", "x", 10, 3), ("a", "x", 11, None),
    )  # fmt: skip
    cleaned = clean(events, shelf("x"), LENIENT)
    assert sorted(cleaned.interactions["row"]) == [0, 10]
    assert cleaned.rejected.select("row", "rule").rows() == [
        (1, "missing_user"), (2, "missing_user"), (3, "missing_item"), (4, "missing_timestamp"), (5, "bad_timestamp"),
        (6, "bad_timestamp"), (7, "rating_out_of_range"), (8, "bad_rating"), (9, "duplicate"),
    ]  # fmt: skip
    assert cleaned.rejected["reason"][8] == "an earlier row says exactly the same"
    assert '"user_id":"a"' in cleaned.rejected["content"][8]


def test_meeting_an_item_again_at_another_time_or_with_another_rating_is_no_duplicate() -> None:
    events = log(("a", "x", 10, 3), ("a", "x", 11, 3), ("a", "x", 10, 4), ("a", "x", 10, 3), ("b", "x", 10, 3))
    cleaned = clean(events, shelf("x"), LENIENT)
    assert cleaned.rejected["row"].to_list() == [3]
    twice_each = log(("a", "x", 10, 3), ("a", "x", 10, 3), ("a", "x", 11, 3), ("a", "x", 11, 3))
    assert clean(twice_each, shelf("x"), LENIENT).rejected["row"].to_list() == [1, 3]


def test_without_times_the_same_again_is_another_event_because_its_place_is_its_time() -> None:
    events = log(("u", "a"), ("u", "b"), ("u", "a"), ("u", "a"), columns=("user_id", "item_id"))
    cleaned = clean(events, shelf(), CleaningRules())
    assert cleaned.interactions["item"].to_list() == [1, 2, 1, 1]
    assert cleaned.rejected.is_empty()


def test_a_rating_too_large_to_be_kept_is_no_rating() -> None:
    cleaned = clean(log(("a", "x", 10, 1e39), ("a", "y", 10, 5)), shelf(), CleaningRules(max_rejected_share=1))
    assert cleaned.rejected["rule"].to_list() == ["bad_rating"]


def test_an_event_without_a_domain_takes_that_of_its_item() -> None:
    events = log(("a", "x", 1, "films"), ("a", "x", 2, None), columns=("user_id", "item_id", "timestamp", "domain"))
    cleaned = clean(events, shelf("x", domain="books"), LENIENT)
    assert cleaned.interactions["domain"].to_list() == ["films", "books"]


def test_without_any_times_the_order_of_the_rows_counts() -> None:
    cleaned = clean(log(("b", "x", None, 1), ("a", "y", None, 1), ("b", "a", None, 1)), shelf(), LENIENT)
    assert cleaned.interactions.select("row", "user", "item").rows() == [(0, 1, 1), (2, 1, 3), (1, 2, 2)]
    assert cleaned.rejected.is_empty()


def test_rare_items_and_users_leave_until_all_that_are_left_have_enough() -> None:
    # z has one event, so it goes; then c has one event left, so c goes; x and y keep two each.
    events = log(
        ("a", "x", 1, 1), ("a", "y", 2, 1), ("b", "x", 3, 1), ("b", "y", 4, 1), ("c", "x", 5, 1), ("c", "z", 6, 1)
    )
    rules = CleaningRules(min_item_events=2, min_user_events=2, max_rejected_share=0)
    cleaned = clean(events, shelf("untouched", "x", "y", "z"), rules)
    assert cleaned.users["user_id"].to_list() == ["a", "b"]
    assert cleaned.items["item_id"].to_list() == ["x", "y"]
    assert cleaned.rejected.select("source", "row", "rule").rows() == [
        ("interactions", 4, "few_events"), ("interactions", 5, "few_events"),
        ("items", 0, "few_events"), ("items", 3, "few_events"),
    ]  # fmt: skip
    with pytest.raises(SourceError, match="as many events as the rules ask for"):
        clean(events, shelf(), CleaningRules(min_item_events=10))


def test_items_without_id_or_described_twice_are_rejected_and_the_first_description_counts() -> None:
    cleaned = clean(log(("a", "x", 1, 1)), shelf("x", None, "y", "x"), LENIENT)
    assert cleaned.items["item_id"].to_list() == ["x", "y"]
    assert cleaned.rejected.select("source", "row", "rule").rows() == [
        ("items", 1, "missing_item"), ("items", 3, "duplicate_item"),
    ]  # fmt: skip


def test_pictures_that_could_not_be_read_are_reported_unless_there_are_none_at_all() -> None:
    events, items = log(("a", "x", 1, 1)), shelf("x", "y", image="yes")
    decoded = pl.LazyFrame({"image": ["x.jpg"], "problem": [None]}, schema={"image": pl.String, "problem": pl.String})
    one = clean(events, items, LENIENT, decoded)
    assert one.rejected.select("source", "row", "rule").rows() == [("images", 1, "missing_image")]
    assert one.items["has_image"].to_list() == [True, False]
    none = clean(events, items, LENIENT, decoded.clear())
    assert none.rejected.is_empty()
    assert none.items["has_image"].to_list() == [False, False]


def test_too_many_broken_rows_stop_the_run_with_the_commonest_rule() -> None:
    events = log(*[("a", "x", k, 3) for k in range(9)], ("a", "x", 1_700_000_000_000, 3))
    assert len(clean(events, shelf(), CleaningRules(max_rejected_share=0.1)).interactions) == 9
    with pytest.raises(SourceError, match=r"1 of 10 interactions are broken \(10.0%.*bad_timestamp"):
        clean(events, shelf(), CleaningRules(max_rejected_share=0.09))
    with pytest.raises(SourceError, match="has no interactions"):
        clean(log(), shelf("x"), LENIENT)
    with pytest.raises(SourceError, match="missing_user"):
        clean(log((None, "x", 1, 1)), shelf("x"), LENIENT)


def test_cleaning_tells_how_many_rows_of_how_many_it_has_read() -> None:
    told: list[str] = []
    events = log(("a", "x", 1, 1), ("b", "y", 2, 1))
    clean(events, shelf(), LENIENT, progress=LogProgress(told.append, interval=0.0))
    assert told[0].startswith("clean: 2 of 2 rows, ")


ids = st.sampled_from([None, "", "a", "b", "c"])
row = st.tuples(
    ids, ids, st.sampled_from([None, -1, 0, 5, 2**42]), st.sampled_from([None, 1.0, 5.0, 9.0, float("nan")])
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(row, max_size=12), items=st.lists(ids, max_size=4), least=st.integers(0, 2))
def test_accepted_and_rejected_add_up_to_the_input_whatever_it_is(rows, items, least) -> None:
    good = ("ok", "ok", 7, 3.0)
    again = ("ok", "ok", 8, 3.0)
    rules = LENIENT.model_copy(update={"min_item_events": least, "min_user_events": least})
    cleaned = clean(log(good, again, *rows), shelf("ok", *items), rules)
    for schema, table in (
        (Interactions, cleaned.interactions), (Users, cleaned.users),
        (Items, cleaned.items), (Rejected, cleaned.rejected),
    ):  # fmt: skip
        schema.validate(table)
    refused = cleaned.rejected.filter(source="interactions")["row"]
    assert sorted([*cleaned.interactions["row"], *refused]) == list(range(len(rows) + 2))
    listed = cleaned.items.filter(pl.col("title").is_not_null())
    assert len(listed) + len(cleaned.rejected.filter(source="items")) == len(items) + 1
    assert cleaned.interactions["item"].is_in(cleaned.items["item"].implode()).all()
    assert cleaned.interactions.equals(cleaned.interactions.sort("user", "timestamp", "row"))
    assert cleaned.users["user"].to_list() == list(range(1, len(cleaned.users) + 1))
