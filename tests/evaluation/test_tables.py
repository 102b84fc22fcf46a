import numpy as np
import polars as pl
import pytest

from tests.evaluation.test_metrics import rankings
from weft.cells import Cell
from weft.evaluation.leaderboard import leaderboard_markdown, leaderboard_of
from weft.evaluation.measuring import Catalogue
from weft.evaluation.tables import Outcome, comparisons_of, merge_metrics, metrics_of
from weft.schemas import Comparisons, Leaderboard, Metrics, ScoredPairs, Splits

CATALOGUE = Catalogue(np.array([0, 4, 3, 2, 1, 0]), {"train": 4, "validation": 4, "test": 5})


def outcome(system: str, score: list, seed: int = 0, *, cold: int = 0, digest: str = "rules") -> Outcome:
    """Five items per query, the target is item 1; the last ``cold`` queries ask for an item without training."""
    table = np.array(score, float)
    frame = rankings(table, np.zeros(len(table), int)).with_columns(
        system=pl.lit(system), warm=pl.int_range(pl.len()) < len(table) - cold
    )
    attributes = {"system": system, "protocol_digest": digest, "config_digest": "c", "device": "cpu"}
    return Outcome(Cell("shop", "leave_one_out", "offline", "full", seed), attributes, frame)


def figure(frame: pl.DataFrame, metric: str, k: int | None = None, part: str = "all") -> dict:
    rows = frame.filter(pl.col("k").eq_missing(k), metric=metric, slice=part)
    return rows.row(0, named=True)


FIRST, SECOND, LAST = [5, 4, 3, 2, 1], [4, 5, 3, 2, 1], [1, 5, 4, 3, 2]
ROUGH = [0, 0, 0, 0, 0]


def test_metrics_of_four_queries_by_hand() -> None:
    got = Metrics.validate(metrics_of(outcome("x", [FIRST, SECOND, LAST, ROUGH], cold=1), CATALOGUE))
    assert set(got["split"].to_list()) == {"test"}
    mrr = figure(got, "mrr")
    assert mrr["value"] == pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 3) / 4)
    assert mrr["n"] == 4
    assert mrr["tie_share"] == 0.25
    assert mrr["ci_low"] <= mrr["value"] <= mrr["ci_high"]
    assert figure(got, "hr", 5)["value"] == 1
    assert figure(got, "precision", 5)["value"] == pytest.approx(0.2)
    assert figure(got, "ndcg", 10, "cold")["value"] == pytest.approx(1 / np.log2(4))
    assert figure(got, "mrr", None, "warm")["n"] == 3
    assert figure(got, "coverage", 5)["value"] == 1
    assert figure(got, "popularity", 5)["value"] == pytest.approx(2)
    assert figure(got, "coverage", 5)["ci_low"] is None


def test_the_answer_to_a_user_without_history_is_not_warm() -> None:
    frame = outcome("x", [FIRST, LAST])
    cold = Outcome(frame.cell, frame.attributes, frame.frame.with_columns(history=pl.Series([3, 0], dtype=pl.Int32)))
    assert figure(metrics_of(cold), "hr", 5, "warm")["n"] == 1


def test_pairs_give_auc_and_uauc_by_hand() -> None:
    rows = [(1, 1, True, 3.0), (1, 2, False, 1.0), (1, 3, False, 3.0), (2, 1, True, 0.5), (3, 4, True, None),
            (3, 1, False, 0.1)]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["user", "item", "label", "score"], orient="row").with_row_index("row")
    frame = ScoredPairs.cast(frame.with_columns(system=pl.lit("x"), split=pl.lit("test"), warm=pl.lit(value=True)))
    base = outcome("x", [FIRST])
    got = Metrics.validate(metrics_of(Outcome(base.cell, base.attributes, frame.select(list(ScoredPairs.columns())))))
    # Positives 3, 0.5 and none against negatives 1, 3, 0.1: 2.5 + 1 + 0 of 9.
    assert figure(got, "auc")["value"] == pytest.approx(3.5 / 9)
    assert figure(got, "auc")["n"] == 6
    assert figure(got, "uauc")["value"] == pytest.approx((0.75 + 0) / 2)
    assert figure(got, "uauc")["n"] == 2


def test_two_systems_are_compared_on_the_same_questions_seeds_and_rules_only() -> None:
    rng = np.random.default_rng(0)
    good, bad = [FIRST] * 40, rng.permuted(np.tile(LAST, (40, 1)), axis=1).tolist()
    got = comparisons_of([outcome("b", bad), outcome("a", good), outcome("a", good, seed=1)])
    Comparisons.validate(got)
    assert got.select("a", "b", "seed").unique().rows() == [("a", "b", 0)]
    row = got.filter(metric="ndcg", k=10, slice="all").row(0, named=True)
    assert row["delta"] > 0
    assert row["ci_low"] > 0
    assert row["p"] < 0.01
    assert row["n"] == 40
    assert len(comparisons_of([outcome("a", good), outcome("b", bad, digest="other rules")])) == 0
    assert len(comparisons_of([outcome("a", good), outcome("b", bad[:39])])) == 0


def test_the_order_in_which_leaves_are_found_changes_nothing() -> None:
    leaves = [outcome("b", [LAST, FIRST]), outcome("a", [SECOND, FIRST]), outcome("a", [FIRST, FIRST], seed=1)]
    once = [merge_metrics(metrics_of(leaf, CATALOGUE) for leaf in some) for some in (leaves, leaves[::-1])]
    assert once[0].equals(once[1])
    assert comparisons_of(leaves).equals(comparisons_of(leaves[::-1]))
    assert leaderboard_of(once[0]).equals(leaderboard_of(once[1]))


def test_the_leaderboard_takes_means_over_seeds_and_escapes_names() -> None:
    leaves = [outcome("b", [LAST, FIRST]), outcome("a", [LAST, LAST]), outcome("a", [FIRST, FIRST], seed=1),
              outcome("<i>|c", [LAST, LAST])]  # fmt: skip
    board = leaderboard_of(merge_metrics(metrics_of(leaf, CATALOGUE) for leaf in leaves))
    Leaderboard.validate(board)
    last = 1 / np.log2(6)
    assert board["system"].to_list() == ["a", "b", "<i>|c"]
    assert board["place"].to_list() == [1, 2, 3]
    assert board["seeds"].to_list() == [2, 1, 1]
    assert board["value"].to_list() == pytest.approx([(1 + last) / 2, (1 + last) / 2, last])
    text = leaderboard_markdown(board, baselines=["b"])
    assert "b (baseline)" in text
    assert "&lt;i&gt;&#124;c" in text
    assert all(line.count("|") == 12 for line in text.splitlines())


def test_nothing_measured_makes_empty_tables() -> None:
    metrics = merge_metrics([])
    assert len(Metrics.validate(metrics)) == 0
    assert len(Leaderboard.validate(leaderboard_of(metrics))) == 0
    assert len(Comparisons.validate(comparisons_of([]))) == 0
    empty = outcome("x", [FIRST])
    assert len(metrics_of(Outcome(empty.cell, empty.attributes, empty.frame.clear()), CATALOGUE)) == 0


def test_the_catalogue_of_a_split_ends_with_that_split() -> None:
    rows = [(0, 1, 1, 1, "train"), (1, 1, 2, 2, "train"), (2, 1, 4, 3, "validation"), (3, 1, 5, 4, "test")]
    frame = pl.DataFrame(rows, schema=["row", "user", "item", "timestamp", "split"], orient="row")
    splits = Splits.cast(
        frame.with_columns(rating=None, session=None, label=None, target=pl.lit(value=True)).select(
            list(Splits.columns())
        )
    )
    got = Catalogue.of(splits)
    assert got.counts.tolist() == [0, 1, 1, 0, 0, 0]
    assert got.candidates == {"train": 2, "validation": 3, "test": 4}
