import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from weft.data.sequences import Queries, Task
from weft.errors import WeftError
from weft.evaluation.ranking import ndcg_at_10, rank, top_k
from weft.schemas import Rankings


def queries(histories: list[list[int]]) -> Queries:
    lengths = [len(history) for history in histories]
    items = np.array([item for history in histories for item in history], np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Queries(np.arange(len(histories)), np.arange(1, len(histories) + 1, dtype=np.int32), None, items, offsets)


def task(histories: list[list[int]], target: list[int], candidates: list[int], *, filter_seen: bool = True) -> Task:
    allowed = np.isin(np.arange(7), candidates)
    return Task("test", queries(histories), np.array(target, np.int32), allowed, filter_seen)


def ranked(scores: list[list[float]], asked: Task, **options) -> pl.DataFrame:
    table = torch.tensor(scores)
    return rank(
        lambda part: table[torch.from_numpy(part.query)],
        asked,
        system="x",
        seen_in_training=np.arange(len(asked.candidates)) != 6,
        tied_time=np.zeros(len(asked), np.bool_),
        **options,
    )


#           item:   0    1    2    3    4    5    6
SCORES = [
    [9.0, 0.5, 0.9, 0.1, 0.5, 0.7, 0.5],
    [9.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2],
    [9.0, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
]
ALL = [1, 2, 3, 4, 5, 6]


def test_better_and_equal_candidates_are_counted_by_hand() -> None:
    got = ranked(SCORES, task([[2], [], [2, 1, 2]], [4, 3, 6], ALL))
    # Query 1: item 2 is seen; 5 is better than 4; 1 and 6 are level with it. 2: all six level. 3: 3, 4, 5 are better.
    assert got.select("better", "equal", "candidates").rows() == [(1, 2, 5), (0, 5, 6), (3, 0, 4)]
    assert got["items"].to_list() == [[5, 1, 4, 6, 3], [1, 2, 3, 4, 5, 6], [3, 4, 5, 6]]
    assert got["score"].to_list() == pytest.approx([0.5, 0.2, 0.1])
    assert got["warm"].to_list() == [True, True, False]
    assert got["history"].to_list() == [1, 0, 3]
    Rankings.validate(got)


def test_only_candidates_are_ranked() -> None:
    got = ranked(SCORES, task([[], [], [1]], [4, 3, 2], [1, 2, 3, 4]))
    assert got.select("better", "equal", "candidates").rows() == [(1, 1, 4), (0, 3, 4), (0, 0, 3)]
    assert got["items"].to_list() == [[2, 1, 4, 3], [1, 2, 3, 4], [2, 3, 4]]


def test_a_target_that_was_bought_before_is_ranked_all_the_same() -> None:
    got = ranked(SCORES, task([[2, 4], [3, 3], [1, 6]], [2, 3, 1], ALL))
    assert got.select("better", "equal", "candidates").rows() == [(0, 0, 5), (0, 5, 6), (0, 0, 5)]
    unfiltered = ranked(SCORES, task([[2, 4], [3, 3], [1, 6]], [4, 3, 2], ALL, filter_seen=False))
    assert unfiltered.select("better", "equal", "candidates").rows() == [(2, 2, 6), (0, 5, 6), (1, 0, 6)]


def test_an_item_without_a_score_is_last_and_its_score_is_null() -> None:
    none = -torch.inf
    got = ranked([[0, 1.0, none, none, 2.0, none, none]] * 2, task([[], [3]], [2, 4], ALL))
    assert got.select("score", "better", "equal", "candidates").rows() == [(None, 2, 3, 6), (2.0, 0, 0, 5)]
    assert got["items"].to_list() == [[4, 1], [4, 1]]


def test_a_score_that_is_no_number_is_refused() -> None:
    broken = [row.copy() for row in SCORES]
    broken[1][5] = float("nan")
    asked = task([[2], [], [1]], [4, 3, 6], ALL)
    with pytest.raises(WeftError, match="NaN"):
        ranked(broken, asked)
    with pytest.raises(WeftError, match="NaN"):
        ndcg_at_10(lambda part: torch.tensor(broken)[part.query], asked)
    with pytest.raises(WeftError, match="NaN"):
        top_k(lambda part: torch.tensor(broken)[part.query], asked.queries, 2)
    with pytest.raises(WeftError, match="shape"):
        ranked([row[:5] for row in SCORES], asked)


def test_top_k_gives_equal_scores_to_the_smaller_item_and_pads_what_is_missing() -> None:
    table = torch.tensor(SCORES)
    asked = queries([[2], [1, 3], [1, 2, 3, 4, 5]])
    items, scores = top_k(lambda part: table[part.query], asked, 3)
    assert items.tolist() == [[5, 1, 4], [2, 4, 5], [6, 0, 0]]
    assert scores[2].tolist() == pytest.approx([0.1, -np.inf, -np.inf])
    everything, _ = top_k(
        lambda part: table[part.query], asked, 2, filter_seen=False, candidates=np.array(SCORES[0]) > 0.6
    )
    assert everything.tolist() == [[2, 5], [2, 5], [2, 5]]


def test_the_batch_changes_nothing_and_ready_scores_stay_as_they_were() -> None:
    rng = np.random.default_rng(0)
    table = torch.from_numpy(rng.integers(0, 40, (50, 301)).astype(np.float32))  # ties everywhere
    before = table.clone()
    histories = [rng.choice(300, size=length, replace=False) + 1 for length in rng.integers(0, 30, 50)]
    asked = Task("test", queries([h.tolist() for h in histories]), rng.integers(1, 301, 50).astype(np.int32),
                 np.arange(301) > 0, filter_seen=True)  # fmt: skip

    def once(batch: int) -> tuple:
        score = lambda part: table[torch.from_numpy(part.query)]  # noqa: E731
        frame = rank(score, asked, system="x", seen_in_training=np.ones(301, np.bool_),
                     tied_time=np.zeros(50, np.bool_), top=20, batch=batch)  # fmt: skip
        return frame, ndcg_at_10(score, asked, batch), top_k(score, asked.queries, 7, batch=batch)

    frame, ndcg, (items, _) = once(512)
    for batch in (1, 7):
        other, other_ndcg, (other_items, _) = once(batch)
        assert other.equals(frame)
        assert other_ndcg == pytest.approx(ndcg, abs=1e-12)
        assert (other_items == items).all()
    assert torch.equal(table, before)
    # The slow way, item by item, for one of them.
    for row in range(50):
        open_ = [i for i in range(1, 301) if i not in set(histories[row]) or i == asked.target[row]]
        mine = float(table[row, asked.target[row]])
        assert frame["better"][row] == sum(float(table[row, i]) > mine for i in open_)
        assert frame["equal"][row] == sum(float(table[row, i]) == mine for i in open_) - 1
        assert frame["candidates"][row] == len(open_)
        assert frame["items"][row].to_list() == sorted(open_, key=lambda i: (-float(table[row, i]), i))[:20]


def test_no_query_at_all_makes_an_empty_table() -> None:
    got = ranked(SCORES, task([], [], ALL))
    assert len(Rankings.validate(got)) == 0


@pytest.mark.slow
def test_a_full_ranking_of_the_size_of_movielens_1m_takes_less_than_a_second_from_scores() -> None:
    rng = np.random.default_rng(0)
    table = torch.from_numpy(rng.normal(size=(6040, 3707)).astype(np.float32))
    histories = [(rng.integers(0, 3706, size=165) + 1).tolist() for _ in range(6040)]
    asked = Task("test", queries(histories), rng.integers(1, 3707, 6040).astype(np.int32), np.arange(3707) > 0,
                 filter_seen=True)  # fmt: skip

    def once() -> float:
        start = time.perf_counter()
        rank(lambda part: table[torch.from_numpy(part.query)], asked, system="x",
             seen_in_training=np.ones(3707, np.bool_), tied_time=np.zeros(6040, np.bool_))  # fmt: skip
        return time.perf_counter() - start

    assert min(once() for _ in range(3)) < 1


def test_among_drawn_items_only_those_and_the_target_are_ranked() -> None:
    # Item 2 scores above the target 4 and is not drawn; 5 is drawn and better, 1 is level, 0 fills up.
    asked = replace(task([[3]], [4], [1, 2, 3, 4, 5, 6]), among=np.array([[5, 1, 0]], np.int32))
    row = ranked(SCORES[:1], asked).row(0, named=True)
    assert (row["better"], row["equal"], row["candidates"]) == (1, 1, 3)
    assert row["items"] == [5, 1, 4]
    assert ndcg_at_10(lambda _: torch.tensor(SCORES[:1]), asked) == pytest.approx(1 / np.log2(3.5))
