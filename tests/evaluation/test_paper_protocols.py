"""Drawn candidates, the thousand most frequent items and the negative control, on rows that one can count by hand."""

import numpy as np
import polars as pl
import pytest

from tests.evaluation.events import interactions
from weft.errors import RequestError, WeftError
from weft.evaluation.protocols import Sampled, protocol

DAY = 86_400


def catalogue(n: int, domains: list[str | None] | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {"item": range(1, n + 1), "domain": domains or [None] * n}, schema_overrides={"domain": pl.String}
    )


def test_999_asks_the_rows_of_leave_one_out_or_those_that_come_split() -> None:
    rows = [(1, item, item) for item in range(1, 5)]
    bare = protocol("paper_999_sampled").split(interactions(rows).lazy()).collect()
    assert bare["split"].to_list() == ["train", "train", "validation", "test"]
    parts = [(*row, part) for row, part in zip(rows, ["train", "validation", "test", "test"], strict=True)]
    data = interactions(parts, ("user", "item", "timestamp", "part"))
    split = protocol("paper_999_sampled").split(data.lazy()).collect()
    assert split["split"].to_list() == ["train", "validation", "test", "test"]
    assert split["target"].to_list() == [False, True, False, True], "the last of each part"


def test_no_more_than_999_are_drawn_and_another_seed_draws_others() -> None:
    # User 1 took three of 1,500 items, all of which others took in training.
    rows = [(1, 1, 1), (1, 2, 2), (1, 3, 3), *((2, item, item) for item in range(1, 1501))]
    splits = protocol("paper_999_sampled").split(interactions(rows).lazy()).collect()
    drawn = {}
    for seed in (0, 1):
        rule = protocol("paper_999_sampled", {"candidate_seed": seed})
        assert isinstance(rule, Sampled)
        drawn[seed] = rule.negatives(splits, catalogue(1500)).filter(query=2, split="test")["items"].item().to_list()
        assert len(set(drawn[seed])) == 999
        assert not {1, 2, 3} & set(drawn[seed])
    assert drawn[0] != drawn[1]
    # Uniform: of 1,497 items the mean is 752, and that of 999 draws lies within 4 standard errors (4 * 7.9) of it.
    assert abs(np.mean(drawn[0]) - 752) < 32


def test_a_draw_does_not_depend_on_other_queries() -> None:
    rows = [(user, 1 + (user * place) % 11, place) for user in range(1, 6) for place in range(8)]
    rule = protocol("paper_candidates_20", {"min_item_events": 1})
    assert isinstance(rule, Sampled)
    splits = rule.split(interactions(rows).lazy()).collect()
    everything = rule.negatives(splits, catalogue(11))
    fewer = splits.with_columns(target=pl.col("target") & (pl.col("split") == "test"))
    assert rule.negatives(fewer, catalogue(11)).equals(everything.filter(split="test"))


def test_negatives_of_other_splits_are_refused() -> None:
    rule = protocol("paper_999_sampled")
    assert isinstance(rule, Sampled)
    splits = rule.split(interactions([(1, item, item) for item in range(1, 5)]).lazy()).collect()
    drawn = rule.negatives(splits, catalogue(4)).with_columns(pl.col("query") + 100)
    with pytest.raises(WeftError, match="1 queries have no drawn negatives"):
        rule.task(splits, "test", 4, drawn)
    assert rule.task(splits, "test", 4).among is None, "a fit selects by the full ranking"


def long_days() -> pl.DataFrame:
    """One day of 25 events (six windows of 20) and then four days of two, each of another user."""
    first = [(1, 1 + place, place) for place in range(25)]
    short = [(user, item, user * DAY + item) for user in range(2, 6) for item in (1, 2)]
    return interactions([*short, *first])


def test_a_long_day_is_all_its_windows_of_20_and_a_row_counts_for_its_earliest() -> None:
    # Ten windows: those that end at events 20 to 25 of the long day, then four. Cut at 8 and 9.
    rule = protocol("paper_candidates_20", {"min_item_events": 1})
    splits = rule.split(long_days().lazy()).collect()
    assert splits["split"].to_list() == ["train"] * 29 + ["validation"] * 2 + ["test"] * 2
    assert splits["session"].to_list() == [1] * 25 + [2, 2, 3, 3, 4, 4, 5, 5]
    assert splits.filter("target").select("session", "item").rows() == [(4, 2), (5, 2)]


def test_a_cut_inside_a_long_day_splits_it_unless_days_are_clean() -> None:
    # 25 events of one day alone: windows end at events 20 to 25, cut after four and after five of them.
    day = interactions([(1, 1 + place, place) for place in range(25)])
    dirty = protocol("paper_candidates_20", {"min_item_events": 1})
    splits = dirty.split(day.lazy()).collect()
    assert splits["split"].to_list() == ["train"] * 23 + ["validation", "test"]
    task = dirty.task(splits, "test", 25)
    assert task.target.tolist() == [25]
    assert task.queries.items.tolist() == list(range(6, 25)), "19 events, some of which were trained on"
    clean = protocol("paper_candidates_20", {"min_item_events": 1, "clean_days": True})
    assert set(clean.split(day.lazy()).collect()["split"]) == {"test"}, "on the side of its last window"
    mixed = clean.split(long_days().lazy()).collect()
    assert mixed["split"].to_list() == ["train"] * 29 + ["validation"] * 2 + ["test"] * 2, "nothing to change"


def test_rare_items_and_lonely_ratings_are_unused_in_windows_of_a_day() -> None:
    rows = [(user, item, 10 * user + item) for user in range(1, 6) for item in (1, 2)]
    data = interactions([*rows, (1, 9, 50), (7, 1, 3 * DAY)])
    splits = protocol("paper_candidates_20").split(data.lazy()).collect()
    assert splits.filter(split="unused").select("user", "item").sort("user").rows() == [(1, 9), (7, 1)]
    with pytest.raises(RequestError, match="two timestamps on one day"):
        protocol("paper_candidates_20").split(interactions([(1, 1, 5), (2, 1, 6)]).lazy())


def test_the_catalogue_is_counted_on_training_rows_and_what_lies_outside_is_unused() -> None:
    # Training rows: item 1 twice, item 2 twice, item 3 once; item 9 is held out three times and in training never.
    users = {1: [1, 2, 9, 1], 2: [2, 3, 1, 9], 3: [1, 9, 2]}
    rows = [(user, item, place) for user, items in users.items() for place, item in enumerate(items)]
    rule = protocol("leave_one_out_top1000", {"size": 2})
    splits = rule.split(interactions(rows).lazy()).collect()
    assert splits.filter(split="unused")["item"].sort().to_list() == [3, 9, 9, 9]
    assert splits.filter("target").select("user", "item", "split").rows() == [
        (1, 1, "test"), (2, 1, "validation"), (3, 2, "test"),
    ]  # fmt: skip
    assert np.flatnonzero(rule.task(splits, "test", 9).candidates).tolist() == [1, 2]


def test_of_items_with_equal_counts_the_smaller_number_is_in_the_catalogue() -> None:
    rows = [(user, item, place) for user in (1, 2) for place, item in enumerate([7, 5, 6, 1, 2])]
    splits = protocol("leave_one_out_top1000", {"size": 2}).split(interactions(rows).lazy()).collect()
    assert set(splits.filter(split="train")["item"]) == {5, 6}


def test_the_negative_control_cuts_rows_in_the_order_of_users() -> None:
    # User 2 stands first in the source. 20 rows: cut at 14 and 17.
    rows = [(2, 1 + place % 2, 100 + place) for place in range(15)] + [(1, 1 + place % 2, place) for place in range(5)]
    rule = protocol("paper_leaky", {"size": 2, "min_user_rows": 2})
    splits = rule.split(interactions([*rows, (3, 9, 1)]).lazy()).collect()
    counts = splits.group_by("user", "split").len().sort("user", "split").rows()
    assert counts == [(1, "validation", 2), (1, "test", 3), (2, "train", 14), (2, "validation", 1), (3, "unused", 1)]
    asked = splits.filter("target").select("user", "split", "timestamp").rows()
    assert asked == [(1, "validation", 1), (1, "test", 4)], "one row of user 2 in validation is too few"
