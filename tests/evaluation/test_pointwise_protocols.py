"""Pointwise protocols on ratings that one can count by hand."""

import numpy as np
import polars as pl
import pytest

from tests.evaluation.events import interactions
from weft.data.sequences import Events, Task
from weft.errors import RequestError
from weft.evaluation.protocols import protocol, warm_pairs

COLUMNS = ("user", "item", "timestamp", "rating")
SHOP = interactions(
    [(1, 1, 10, 5.0), (1, 2, 20, 3.9), (1, 3, 30, 4.0), (2, 4, 40, 1.0), (2, 5, 50, None), (1, 6, 60, 5.0),
     (2, 1, 70, 4.0), (1, 4, 80, 2.0), (3, 1, 90, 5.0), (1, 7, 100, 5.0), (2, 3, 110, 3.0)],
    COLUMNS,
)  # fmt: skip


def judged(task: Task) -> list[tuple[int, int, bool, list[int]]]:
    """(user, item, liked, history) of every query."""
    assert task.label is not None
    parts = np.split(task.queries.items, task.queries.offsets[1:-1]) if len(task) else []
    columns = task.queries.user.tolist(), task.target.tolist(), task.label.tolist()
    return [(*row, part.tolist()) for *row, part in zip(*columns, parts, strict=True)]


def months(*moments: int) -> dict[str, int]:
    """Four moments as the rules of CoLLM's months."""
    return dict(zip(("train_from", "validation_from", "test_from", "test_until"), moments, strict=True))


def test_labels_come_from_the_threshold_and_histories_are_earlier_positives() -> None:
    rule = protocol("pointwise_time")
    splits = rule.split(SHOP.lazy()).collect()
    # Ten labelled rows: the quantiles 0.8 and 0.9 stand at seconds 100 and 110.
    assert judged(rule.task(splits, "validation", 7)) == [(1, 7, True, [1, 3, 6])]
    assert judged(rule.task(splits, "test", 7)) == [(2, 3, False, [1])]
    events = rule.events(splits, 3, 7)
    assert events.label is not None
    assert list(zip(events.user.tolist(), events.item.tolist(), events.label.tolist(), strict=True)) == [
        (1, 1, 1), (1, 2, 0), (1, 3, 1), (1, 6, 1), (1, 4, 0), (2, 4, 0), (2, 1, 1), (3, 1, 1),
    ]  # fmt: skip
    unrated = splits.filter(pl.col("rating").is_null()).row(0, named=True)
    assert (unrated["split"], unrated["label"], unrated["target"]) == ("unused", None, False)


def in_training(events: Events) -> list[list[int]]:
    """The history of every training row."""
    assert events.history is not None
    positives = events.positives.item
    return [positives[first:end].tolist() for first, end in events.history]


def test_a_training_row_has_the_history_that_a_query_would_have_in_its_place() -> None:
    rule = protocol("pointwise_time")
    splits = rule.split(SHOP.lazy()).collect()
    assert in_training(rule.events(splits, 3, 7)) == [[], [1], [1], [1, 3], [1, 3, 6], [], [], []]

    liked = [(1, 1, 10, 5.0), (1, 2, 20, 5.0), (1, 3, 20, 5.0), (1, 4, 30, 1.0), (2, 1, 90, 5.0)]
    second = interactions(liked, COLUMNS)
    strict = protocol("pointwise_time", {"strict_time": True, "validation_quantile": 0.9, "test_quantile": 0.95})
    events = strict.events(strict.split(second.lazy()).collect(), 2, 4)
    assert in_training(events)[:4] == [[], [1], [1], [1, 2, 3]]  # 2 and 3 share their second

    long = interactions([(user, item, None, 5.0) for user in range(1, 21) for item in range(1, 14)], COLUMNS)
    blocks = protocol("paper_tallrec_blocks")
    events = blocks.events(blocks.split(long.lazy()).collect(), 20, 13)
    assert in_training(events)[11:13] == [list(range(2, 12)), list(range(3, 13))]  # ten ratings before, no more


def test_a_pair_is_warm_if_both_its_user_and_its_item_were_trained_on() -> None:
    rule = protocol(
        "pointwise_collm_months", {"train_from": 10, "validation_from": 75, "test_from": 76, "test_until": 101}
    )
    splits = rule.split(SHOP.lazy()).collect()
    task = rule.task(splits, "test", 7)
    # User 3 has no training row and item 7 none; (1, 4) has both.
    assert [(user, item) for user, item, *_ in judged(task)] == [(1, 4), (1, 7), (3, 1)]
    assert warm_pairs(rule.events(splits, 3, 7), task).tolist() == [True, False, False]
    assert splits.filter(pl.col("timestamp") == 110)["split"].to_list() == ["unused"]


def test_months_outside_the_windows_reach_no_history() -> None:
    rule = protocol(
        "pointwise_collm_months", {"train_from": 20, "validation_from": 60, "test_from": 90, "test_until": 200}
    )
    splits = rule.split(SHOP.lazy()).collect()
    assert judged(rule.task(splits, "validation", 7)) == [(1, 6, True, [3]), (1, 4, False, [3, 6]), (2, 1, True, [])]
    with pytest.raises(RequestError, match="must follow one another"):
        protocol("pointwise_collm_months", {"train_from": "2003-05-01"})


def test_strict_time_keeps_positives_of_the_same_second_out() -> None:
    rows = [(1, 1, 5, 5.0), (1, 2, 5, 5.0), (1, 3, 5, 5.0)]
    found = {}
    for strict in (True, False):
        rule = protocol("pointwise_collm_months", {**months(0, 1, 2, 9), "strict_time": strict})
        task = rule.task(rule.split(interactions(rows, COLUMNS).lazy()).collect(), "test", 3)
        found[strict] = [history for *_, history in judged(task)]
    assert found == {True: [[], [], []], False: [[], [1], [1, 2]]}


def test_tallrec_takes_the_last_windows_of_eleven_in_the_order_of_users() -> None:
    # User 2 comes first in the source. Nine windows of user 2 and six of user 1; the last ten are used.
    rows = [(2, item, 100 + item, 4.0) for item in range(1, 20)] + [(1, item, item, 3.0) for item in range(1, 17)]
    rule = protocol("paper_tallrec_blocks", {"windows": 10})
    splits = rule.split(interactions(rows, COLUMNS).lazy()).collect()
    # Of user 2 the windows that end at items 16 to 19 (from item 6 on), of user 1 those that end at 11 to 16.
    assert splits.filter(user=2, split="train")["item"].to_list() == list(range(6, 20))
    assert splits.filter(user=1, split="train")["item"].to_list() == list(range(1, 15))
    assert splits.filter("target").select("user", "item", "split").rows() == [(1, 15, "validation"), (1, 16, "test")]
    assert splits.filter(user=1)["label"].unique().to_list() == [False], "3 is not above 3"
    assert splits.filter(user=2, split="train")["label"].all()
    assert judged(rule.task(splits, "test", 20)) == [(1, 16, False, [])]


def test_tallrecs_histories_hold_the_positives_of_ten_ratings() -> None:
    rows = [(1, item, item, 5.0 if item % 2 else 1.0) for item in range(1, 31)]
    rule = protocol("paper_tallrec_blocks")
    splits = rule.split(interactions(rows, COLUMNS).lazy()).collect()
    assert judged(rule.task(splits, "test", 30))[-1] == (1, 30, False, [21, 23, 25, 27, 29])


def test_without_times_users_are_cut_whole_and_rating_zero_says_nothing() -> None:
    rows = [(user, item, None, float(item)) for user in range(1, 21) for item in range(8)]
    data = interactions([(u, i + 1, t, r) for u, i, t, r in rows], COLUMNS)
    rule = protocol("paper_tallrec_blocks", {"like_above": 5})
    splits = rule.split(data.lazy()).collect()
    parts = splits.filter(pl.col("split") != "unused").group_by("user").agg(pl.col("split").unique())
    assert parts["split"].list.len().to_list() == [1] * 20
    assert parts["split"].explode().value_counts().sort("split")["count"].to_list() == [16, 2, 2]
    assert splits.filter(split="unused")["rating"].unique().to_list() == [0.0]
    liked = splits.filter(pl.col("label"))["rating"].unique().sort().to_list()
    assert liked == [6.0, 7.0]
    assert rule.task(splits, "test", 8).queries.lengths.tolist() == [0, 0, 0, 0, 0, 0, 1] * 2


def test_what_labels_lack_is_said_in_one_sentence() -> None:
    unrated = interactions([(1, 1, 5), (1, 2, 6)]).lazy()
    for name in ("pointwise_time", "pointwise_collm_months"):
        with pytest.raises(RequestError, match="needs timestamps and ratings"):
            protocol(name).split(unrated)
    with pytest.raises(RequestError, match="needs ratings"):
        protocol("paper_tallrec_blocks", {"by": "users"}).split(unrated)
    with pytest.raises(RequestError, match="users with eleven ratings"):
        protocol("paper_tallrec_blocks").split(SHOP.lazy())
    assert protocol("pointwise_time").lacks({"timestamp"}) == "rating"
    assert protocol("paper_tallrec_blocks").lacks({"rating"}) == ""


@pytest.mark.parametrize(("name", "rules"), [("pointwise_time", {}), ("paper_tallrec_blocks", {"by": "users"})])
def test_what_a_history_shows_of_the_interactions_is_what_the_labels_call_liked(name: str, rules: dict) -> None:
    rule = protocol(name, rules)
    splits = rule.split(SHOP.lazy()).collect()
    liked = SHOP.filter(rule.liked)["row"].sort().to_list()
    assert liked == splits.filter(pl.col("label"))["row"].sort().to_list()
