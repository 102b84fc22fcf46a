"""What the asset checks find, on tables one can read."""

import polars as pl
import pytest

from pipelines.checks import (
    empty_splits,
    future_rows_in_training,
    targets_in_own_history,
    targets_taken_before_in_the_same_second,
    wrongly_answered,
)
from weft.evaluation.protocols import PROTOCOLS, protocol
from weft.schemas import Splits


def splits(*rows: tuple[int, int, int, str]) -> pl.DataFrame:
    """(user, item, timestamp, split) in source order; what is held out is a target."""
    columns = {"user": [], "item": [], "timestamp": [], "split": []}
    for row in rows:
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)
    frame = (
        pl.DataFrame(columns)
        .with_row_index("row")
        .with_columns(rating=None, session=None, label=None, target=pl.col("split").is_in(["validation", "test"]))
    )
    return Splits.cast(frame.select(list(Splits.columns())))


GOOD = [(1, 1, 10, "train"), (1, 2, 20, "validation"), (1, 3, 30, "test")]


def test_nothing_is_found_in_splits_as_they_should_be() -> None:
    table = splits(*GOOD)
    assert empty_splits(table) == []
    assert targets_in_own_history(table) == 0
    assert future_rows_in_training(table, protocol("leave_one_out")) == 0


def test_a_split_without_rows_is_named() -> None:
    assert empty_splits(splits(*GOOD[:2])) == ["test"]


def test_a_split_without_targets_is_named_even_if_it_has_rows() -> None:
    assert empty_splits(splits(*GOOD).with_columns(target=pl.col("split") == "test")) == ["validation"]


def test_a_target_whose_row_stands_twice_is_found() -> None:
    table = splits(*GOOD)
    assert targets_in_own_history(pl.concat([table, table[2:]])) == 2


def test_a_target_with_a_later_row_before_it_is_found() -> None:
    assert targets_in_own_history(splits(*GOOD).reverse()) > 0


def test_rating_an_item_twice_in_one_second_is_counted_and_no_error() -> None:
    table = splits(*GOOD[:2], (1, 3, 30, "train"), (1, 3, 30, "test"))
    assert targets_in_own_history(table) == 0
    assert targets_taken_before_in_the_same_second(table) == 1


def test_taking_an_item_again_later_is_no_target_in_its_own_history() -> None:
    assert targets_in_own_history(splits((1, 3, 5, "train"), *GOOD)) == 0


@pytest.mark.parametrize("name", ["leave_one_out", "global_time", "pointwise_time"])
def test_a_training_row_after_a_held_out_row_is_found(name: str) -> None:
    assert future_rows_in_training(splits(*GOOD, (1, 4, 40, "train")), protocol(name)) == 1


def test_another_users_later_training_row_counts_only_with_one_clock_for_all() -> None:
    table = splits(*GOOD, (2, 4, 40, "train"))
    assert future_rows_in_training(table, protocol("leave_one_out")) == 0
    assert future_rows_in_training(table, protocol("global_time")) == 1


def test_a_training_session_may_outlast_the_start_of_a_held_out_one_and_not_follow_it() -> None:
    rows = [(1, 1, 10, "train"), (1, 2, 25, "train"), (2, 3, 20, "validation"), (2, 4, 21, "validation")]
    table = splits(*rows, (3, 1, 22, "train"), (3, 2, 30, "train")).with_columns(
        session=pl.Series([1, 1, 2, 2, 3, 3], dtype=pl.Int64)
    )
    assert future_rows_in_training(table.filter(pl.col("session") < 3), protocol("sessions")) == 0
    assert future_rows_in_training(table, protocol("sessions")) == 2


def test_own_histories_are_looked_at_inside_the_session() -> None:
    rows = [(1, 1, 10, "train"), (1, 3, 30, "test"), (1, 2, 15, "test")]
    table = splits(*rows).with_columns(session=pl.Series([1, 1, 2], dtype=pl.Int64))
    assert targets_in_own_history(table, "session") == 0
    assert targets_in_own_history(table) == 2


def test_only_what_comes_split_and_published_splits_promise_nothing_about_the_future() -> None:
    lax = {name for name, rule in PROTOCOLS.items() if not rule.promises_past}
    assert lax == {
        "predefined",
        "paper_tallrec_blocks",
        "paper_sessions_user_order",
        "paper_999_sampled",
        "paper_candidates_20",
        "paper_leaky",
    }


@pytest.mark.parametrize("column", ["query", "row"])
def test_a_target_without_an_answer_and_an_answer_given_twice_are_counted(column: str) -> None:
    splits = pl.DataFrame(
        {"row": [1, 2, 3, 4], "split": ["train", "validation", "test", "test"], "target": [False, True, True, True]}
    )
    whole = pl.DataFrame({"split": ["validation", "test", "test"], column: [2, 3, 4]})
    assert wrongly_answered(splits, whole, column) == 0
    assert wrongly_answered(splits, whole.head(2), column) == 1
    assert wrongly_answered(splits, pl.concat([whole, whole.tail(1)]), column) == 1
    elsewhere = whole.with_columns(split=pl.lit("test"))  # the validation target answered as one of the test
    assert wrongly_answered(splits, elsewhere, column) == 1
