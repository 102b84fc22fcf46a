"""Session protocols on visits that one can count by hand."""

import polars as pl
import pytest

from tests.evaluation.events import interactions
from weft.errors import RequestError
from weft.evaluation.protocols import BySession, protocol, tied_time

COLUMNS = ("user", "item", "timestamp", "session_id")


def visits(*sessions: tuple[int, str | None, list[tuple[int, int]]]) -> pl.LazyFrame:
    """(user, session id, (item, second)…) as interactions."""
    return interactions(
        [(user, item, second, name) for user, name, events in sessions for item, second in events], COLUMNS
    ).lazy()


def ten(first_of_last: int = 1, last: int = 2) -> pl.LazyFrame:
    """Ten visits of items 1 and 2, given in the wrong order; the last two of them may hold others."""
    done = [(1 + place % 3, f"s{place}", [(1, 100 * place), (2, 100 * place + 9)]) for place in range(8)]
    held = [(1, "s8", [(1, 800), (last, 809)]), (2, "s9", [(first_of_last, 900), (2, 909), (last, 918)])]
    return visits(*reversed([*done, *held]))


def held(splits: pl.DataFrame, split: str) -> list[tuple[int, int, bool]]:
    """(session, item, asked) of the rows of a split."""
    return splits.filter(split=split).select("session", "item", "target").rows()


def test_whole_sessions_are_cut_80_10_10_by_their_start_and_the_last_item_is_asked() -> None:
    splits = protocol("sessions").split(ten()).collect()
    assert splits.filter(split="train")["session"].to_list() == [n for n in range(1, 9) for _ in range(2)]
    assert splits.filter(split="train")["timestamp"].is_sorted()
    assert held(splits, "validation") == [(9, 1, False), (9, 2, True)]
    assert held(splits, "test") == [(10, 1, False), (10, 2, False), (10, 2, True)]


def test_every_item_but_the_first_is_asked_with_all_prefixes_and_nobody_has_a_name() -> None:
    rule = protocol("sessions", {"targets": "all_prefixes"})
    splits = rule.split(ten()).collect()
    task = rule.task(splits, "test", 3)
    assert task.target.tolist() == [2, 2]
    assert task.queries.items.tolist() == [1, 1, 2], "other visits of this user are not in the history"
    assert task.queries.user.tolist() == [0, 0]
    events = rule.events(splits, n_users=3, n_items=3)
    assert (events.user.tolist(), events.n_users) == ([n for n in range(1, 9) for _ in range(2)], 10)


def test_a_target_that_training_never_saw_is_dropped_and_counted() -> None:
    rule = protocol("sessions")
    assert isinstance(rule, BySession)
    splits = rule.split(ten(last=3)).collect()
    assert not splits["target"].any()
    assert rule.dropped(splits) == 2
    every = protocol("sessions", {"targets": "all_prefixes"})
    assert isinstance(every, BySession)
    splits = every.split(ten(last=3)).collect()
    assert held(splits, "test") == [(10, 1, False), (10, 2, True), (10, 3, False)]
    assert every.dropped(splits) == 2


def test_a_pause_longer_than_the_limit_ends_a_session_and_single_events_are_unused() -> None:
    rule = protocol("sessions", {"by": "gap", "seconds": 10})
    data = visits((1, None, [(1, 0), (2, 10), (3, 21), (4, 31), (5, 99)]), (2, None, [(1, 5), (2, 6)]))
    splits = rule.split(data).collect().sort("row")
    assert splits["session"].to_list() == [1, 1, 3, 3, None, 2, 2]
    assert splits.filter(pl.col("session").is_null())["split"].to_list() == ["unused"]


def test_a_window_of_the_clock_starts_at_round_seconds_for_everybody() -> None:
    splits = protocol("sessions", {"by": "clock", "seconds": 10}).split(
        visits((1, None, [(1, 8), (2, 9), (3, 10), (4, 19)]), (2, None, [(1, 9), (2, 9)]))
    )
    assert splits.collect().sort("row")["session"].to_list() == [1, 1, 3, 3, 2, 2]


def test_ties_are_those_of_the_session_not_of_the_user() -> None:
    # User 1 ends a visit in the second in which the next one starts; the last visit has a tie inside.
    data = visits((2, "a", [(1, 0), (2, 9)]), (1, "b", [(1, 20), (2, 30)]), (1, "c", [(1, 30), (2, 31), (2, 31)]))
    rule = protocol("sessions", {"train_share": 0.34, "validation_share": 0.33})
    splits = rule.split(data).collect()
    assert splits.filter("target").select("session", "item").rows() == [(2, 2), (3, 2)]
    assert tied_time(splits, "validation").tolist() == [False]
    assert tied_time(splits, "test").tolist() == [True]


def test_llm4sbr_drops_rare_items_first_and_cuts_in_the_order_of_users_and_windows() -> None:
    # Item 9 has one click: window 5 of user 2 falls away. Users stand in the source as 2, 1.
    later = [(2, None, [(1, 600 * window), (2, 600 * window + 1)]) for window in range(20, 15, -1)]
    first = [(1, None, [(1, 600 * window), (2, 600 * window + 1)]) for window in range(15)]
    data = visits((2, None, [(1, 3000), (9, 3001)]), *later, *first)
    splits = protocol("paper_sessions_user_order").split(data).collect()
    sessions = splits.filter(pl.col("session").is_not_null()).group_by("session", "split", maintain_order=True)
    table = sessions.agg(pl.col("user").first(), window=pl.col("timestamp").first() // 600)
    assert table["user"].to_list() == [2] * 5 + [1] * 15
    assert table["window"].to_list() == [16, 17, 18, 19, 20, *range(15)]
    assert table["split"].to_list() == ["train"] * 16 + ["validation"] * 2 + ["test"] * 2
    assert splits.filter(split="unused")["item"].to_list() == [1, 9]


def test_sessions_need_session_ids_or_times() -> None:
    bare = interactions([(1, 1), (1, 2)], ("user", "item")).lazy()
    with pytest.raises(RequestError, match="needs session_id or timestamp"):
        protocol("sessions").split(bare)
    with pytest.raises(RequestError, match="needs timestamp"):
        protocol("sessions", {"by": "gap"}).split(bare)
    with pytest.raises(RequestError, match="needs sessions of 2 events"):
        protocol("sessions").split(visits((1, "a", [(1, 1)])))
    with pytest.raises(RequestError, match="leave something for the test"):
        protocol("sessions", {"train_share": 0.9})
    assert protocol("sessions").lacks({"session_id"}) == ""
    assert protocol("sessions").lacks({"rating"}) == "session_id or timestamp"
    assert protocol("sessions", {"by": "session_id"}).lacks({"timestamp"}) == "session_id"
