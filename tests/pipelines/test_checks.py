"""What the asset checks find, on tables one can read."""

import polars as pl
import pytest

from pipelines.checks import (
    empty_splits,
    future_rows_in_training,
    targets_in_own_history,
    targets_taken_before_in_the_same_second,
)
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
    assert future_rows_in_training(table, "leave_one_out") == 0


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


@pytest.mark.parametrize(("protocol", "found"), [("leave_one_out", 1), ("global_time", 1)])
def test_a_training_row_after_a_held_out_row_is_found(protocol: str, found: int) -> None:
    assert future_rows_in_training(splits(*GOOD, (1, 4, 40, "train")), protocol) == found


def test_another_users_later_training_row_counts_only_with_one_clock_for_all() -> None:
    table = splits(*GOOD, (2, 4, 40, "train"))
    assert future_rows_in_training(table, "leave_one_out") == 0
    assert future_rows_in_training(table, "global_time") == 1
