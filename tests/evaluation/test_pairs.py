"""Scored pairs: the table of an outcome, and what picks the epoch of a fit."""

import numpy as np
import pytest

from weft.data.sequences import Queries, Task
from weft.errors import WeftError
from weft.evaluation import pairs


def _task(users: list[int], labels: list[int]) -> Task:
    n = len(users)
    queries = Queries(
        np.arange(100, 100 + n), np.array(users, np.int32), None, np.zeros(0, np.int32), np.zeros(n + 1, np.int64)
    )
    target = np.arange(1, n + 1, dtype=np.int32)
    return Task("validation", queries, target, np.ones(n + 1, np.bool_), False, label=np.array(labels, np.bool_))


def _item_number(queries: Queries, item: np.ndarray) -> np.ndarray:
    del queries
    return item.astype(np.float32)


def test_a_scored_pair_keeps_row_user_item_label_and_whether_it_is_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_BATCH", 2)
    warm = np.array([True, False, True])
    table = pairs.scored_pairs(_item_number, _task([7, 7, 9], [1, 0, 1]), system="x", warm=warm)
    assert table.select("row", "user", "item", "label", "score", "warm").rows() == [
        (100, 7, 1, True, 1.0, True),
        (101, 7, 2, False, 2.0, False),
        (102, 9, 3, True, 3.0, True),
    ]


def test_a_model_without_an_answer_leaves_a_null_and_one_that_diverged_is_refused() -> None:
    task = _task([7, 7], [1, 0])
    table = pairs.scored_pairs(
        lambda _, item: np.where(item == 1, -np.inf, 1.0), task, system="x", warm=np.ones(2, np.bool_)
    )
    assert table["score"].to_list() == [None, 1.0]
    with pytest.raises(WeftError, match="NaN"):
        pairs.scores_of(lambda _, item: item * np.nan, task)


def test_uauc_picks_the_epoch_and_auc_where_nobody_has_both_classes() -> None:
    both = _task([7, 7, 7, 9, 9], [0, 1, 0, 0, 1])
    assert pairs.selecting_metric(both) == "uauc"
    assert pairs.measured("uauc", _item_number, both) == pytest.approx((0.5 + 1) / 2)
    apart = _task([7, 8, 9, 10], [0, 1, 0, 1])
    assert pairs.selecting_metric(apart) == "auc"
    assert pairs.measured("auc", _item_number, apart) == pytest.approx(3 / 4)
    assert pairs.selecting_metric(_task([7, 8], [1, 1])) is None
