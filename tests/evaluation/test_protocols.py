from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.events import asked, interactions
from weft.errors import RequestError
from weft.evaluation.protocols import headline, protocol, seen_in_training, tied_time
from weft.schemas import Splits

# Two users of four and three events, one of two; user 1's last two share a second.
SHOP = interactions(
    [(1, 5, 40), (1, 2, 10), (2, 3, 15), (1, 4, 40), (2, 1, 5), (3, 6, 1), (1, 3, 20), (3, 2, 2), (2, 4, 30)]
)


def test_leave_one_out_asks_for_the_last_two_items_in_order_of_time_and_row() -> None:
    rule = protocol("leave_one_out")
    splits = Splits.validate(rule.split(SHOP.lazy()).collect(), cast=False)
    assert asked(rule.task(splits, "validation", 6)) == {1: ([2, 3], 5), 2: ([1], 3)}
    assert asked(rule.task(splits, "test", 6)) == {1: ([2, 3, 5], 4), 2: ([1, 3], 4)}
    events = rule.events(splits, n_users=3, n_items=6)
    assert list(zip(events.user.tolist(), events.item.tolist(), strict=True)) == [
        (1, 2),
        (1, 3),
        (2, 1),
        (3, 6),
        (3, 2),
    ]
    assert events.timestamp is not None
    assert events.timestamp.tolist() == [10, 20, 5, 1, 2]


def test_a_query_carries_the_source_row_and_the_time_of_its_target() -> None:
    rule = protocol("leave_one_out")
    task = rule.task(rule.split(SHOP.lazy()).collect(), "test", 6)
    assert task.queries.query.tolist() == [3, 8]
    assert task.queries.time is not None
    assert task.queries.time.tolist() == [40, 30]


def test_items_of_the_test_split_are_no_candidates_in_validation() -> None:
    rule = protocol("leave_one_out")
    splits = rule.split(interactions([(1, 1, 1), (1, 2, 2), (1, 3, 3)]).lazy()).collect()
    assert np.flatnonzero(rule.task(splits, "validation", 4).candidates).tolist() == [1, 2]
    assert np.flatnonzero(rule.task(splits, "test", 4).candidates).tolist() == [1, 2, 3]
    assert np.flatnonzero(seen_in_training(rule.events(splits, 1, 4))).tolist() == [1]


def test_a_tie_in_time_is_told_and_strict_time_keeps_it_out_of_the_history() -> None:
    strict = protocol("leave_one_out", {"strict_time": True})
    splits = strict.split(SHOP.lazy()).collect()
    assert tied_time(splits, "test").tolist() == [True, False]
    assert tied_time(splits, "validation").tolist() == [True, False]
    assert asked(strict.task(splits, "test", 6))[1] == ([2, 3], 4)


def test_data_without_timestamps_are_ordered_by_row() -> None:
    rule = protocol("leave_one_out")
    splits = rule.split(interactions([(1, 3), (2, 9), (1, 1), (1, 2), (1, 5)], ("user", "item")).lazy()).collect()
    task = rule.task(splits, "test", 9)
    assert asked(task) == {1: ([3, 1, 2], 5)}
    assert task.queries.time is None
    assert rule.events(splits, 2, 9).timestamp is None
    assert tied_time(splits, "test").tolist() == [True]


def test_global_time_asks_for_the_first_held_out_event_of_each_user() -> None:
    rule = protocol("global_time", {"validation_from": 20, "test_from": 30})
    splits = rule.split(SHOP.lazy()).collect()
    assert asked(rule.task(splits, "validation", 6)) == {1: ([2], 3)}
    assert asked(rule.task(splits, "test", 6)) == {1: ([2, 3], 5), 2: ([1, 3], 4)}
    assert splits.filter(split="train")["timestamp"].max() == 15
    assert splits.filter(~pl.col("target"), split="test")["item"].to_list() == [4]
    everything = protocol("global_time", {"validation_from": 20, "test_from": 30, "targets": "all"})
    task = everything.task(everything.split(SHOP.lazy()).collect(), "test", 6)
    assert task.target.tolist() == [5, 4, 4]
    assert task.queries.items.tolist() == [2, 3, 2, 3, 5, 1, 3]


def test_global_time_cuts_at_quantiles_of_all_timestamps() -> None:
    rows = interactions([(1 + second % 3, 1 + second % 7, second) for second in range(1, 101)])
    counts = protocol("global_time").split(rows.lazy()).collect()["split"].value_counts()
    assert dict(counts.iter_rows()) == {"train": 80, "validation": 10, "test": 10}


def test_cuts_may_be_dates_and_change_the_digest() -> None:
    dated = protocol("global_time", {"validation_from": date(1970, 1, 2), "test_from": "1970-01-03T00:00:00Z"})
    assert dated == protocol("global_time", {"validation_from": 86_400, "test_from": 172_800})
    assert dated.digest != protocol("global_time").digest
    assert protocol("leave_one_out").digest != protocol("leave_one_out", {"filter_seen": False}).digest
    assert protocol("leave_one_out").digest == protocol("leave_one_out", {"filter_seen": True}).digest


def test_predefined_takes_the_parts_of_the_source() -> None:
    rows = [(1, 1, 1, "train"), (1, 2, 2, "test"), (1, 3, 3, "validation"), (1, 4, 4, "test"), (2, 5, 5, None)]
    data = interactions(rows, ("user", "item", "timestamp", "part")).lazy()
    rule = protocol("predefined")
    splits = rule.split(data).collect()
    assert splits["split"].to_list() == ["train", "test", "validation", "test", "unused"]
    assert asked(rule.task(splits, "validation", 5)) == {1: ([1], 3)}, "a test row is no history of a validation query"
    assert rule.task(splits, "test", 5).target.tolist() == [2, 4]
    last = protocol("predefined", {"targets": "last"})
    assert asked(last.task(last.split(data).collect(), "test", 5)) == {1: ([1, 2, 3], 4)}


def test_what_a_protocol_lacks_is_said_in_one_sentence() -> None:
    timeless = interactions([(1, 3), (1, 1)], ("user", "item")).lazy()
    with pytest.raises(RequestError, match="needs timestamps"):
        protocol("global_time").split(timeless)
    with pytest.raises(RequestError, match="needs the column 'part'"):
        protocol("predefined").split(timeless)
    odd = interactions([(1, 3, "holdout")], ("user", "item", "part")).lazy()
    with pytest.raises(RequestError, match="'holdout'"):
        protocol("predefined").split(odd)
    with pytest.raises(RequestError, match="there is no protocol 'random'"):
        protocol("random")
    with pytest.raises(RequestError, match="give both"):
        protocol("global_time", {"test_from": 5})
    with pytest.raises(RequestError, match=r"leave_one_out\.folds"):
        protocol("leave_one_out", {"folds": 5})


def test_the_headline_is_leave_one_out_unless_the_data_come_split() -> None:
    assert headline(comes_split=False) == "leave_one_out"
    assert headline(comes_split=True) == "predefined"


events = st.lists(
    st.tuples(
        st.integers(1, 5), st.integers(1, 8), st.integers(0, 12), st.sampled_from(["train", "validation", "test"])
    ),
    min_size=5,
    max_size=60,
)


@given(rows=events, name=st.sampled_from(["leave_one_out", "global_time", "predefined"]), strict=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_history_reaches_its_target_and_no_row_is_in_two_splits(rows: list, name: str, strict: bool) -> None:
    rule = protocol(name, {"strict_time": strict})
    data = interactions(rows, ("user", "item", "timestamp", "part"))
    splits = rule.split(data.lazy()).collect()
    assert sorted(splits["row"]) == list(range(len(rows)))
    key = {row: (second, row) for row, (_, _, second, _) in enumerate(rows)}
    split_of = dict(splits.select("row", "split").iter_rows())
    later = {"validation": {"test"}, "test": set()}
    for split in ("validation", "test"):
        task = rule.task(splits, split, 8)
        for place, target in enumerate(task.queries.query.tolist()):
            before = [
                row
                for row in sorted(key, key=key.get)  # type: ignore[arg-type]
                if rows[row][0] == rows[target][0]
                and (key[row][0] < key[target][0] if strict else key[row] < key[target])
                and split_of[row] not in later[split]
            ]
            bounds = slice(task.queries.offsets[place], task.queries.offsets[place + 1])
            assert task.queries.items[bounds].tolist() == [rows[row][1] for row in before]
            assert task.target[place] == rows[target][1]
            assert split_of[target] == split
            assert task.candidates[task.target[place]]
