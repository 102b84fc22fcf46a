import numpy as np
import polars as pl
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from weft.evaluation import metrics as m
from weft.schemas import Rankings


def rankings(score: np.ndarray, target: np.ndarray) -> pl.DataFrame:
    """What ``rank`` would store for a table of scores without a padding column, counted the slow way."""
    own = score[np.arange(len(score)), target][:, None]
    n = len(score)
    order = np.argsort(-score, axis=1, kind="stable")[:, :100]
    return Rankings.cast(
        pl.DataFrame(
            {
                "system": ["x"] * n,
                "split": ["test"] * n,
                "query": np.arange(n),
                "user": np.arange(n) + 1,
                "target": target + 1,
                "score": own[:, 0],
                "better": (score > own).sum(1),
                "equal": (score == own).sum(1) - 1,
                "candidates": [score.shape[1]] * n,
                "history": [3] * n,
                "warm": [True] * n,
                "tied_time": [False] * n,
                "items": (order + 1).tolist(),
                "scores": np.take_along_axis(score, order, 1).tolist(),
            }
        )
    )


def test_every_metric_of_three_ranks_by_hand() -> None:
    rank = np.array([1.0, 3.0, 2.5, np.inf])
    assert m.hr(rank, 2).tolist() == [1, 0, 0, 0]
    assert m.recall(rank, 3).tolist() == [1, 1, 1, 0]
    assert m.precision(rank, 5).tolist() == [0.2, 0.2, 0.2, 0]
    assert m.ndcg(rank, 3).tolist() == pytest.approx([1, 0.5, 1 / np.log2(3.5), 0])
    assert m.mrr(rank).tolist() == pytest.approx([1, 1 / 3, 0.4, 0])
    assert m.mrr(rank, 2).tolist() == [1, 0, 0, 0]


def test_a_constant_scorer_gets_the_middle_rank_and_a_missing_score_none() -> None:
    table = rankings(np.zeros((4, 9)), np.arange(4))
    assert m.mid_ranks(table).tolist() == [5.0] * 4
    silent = table.with_columns(score=pl.lit(None, pl.Float32))
    assert np.isinf(m.mid_ranks(silent)).all()


def test_metrics_equal_ranx_with_ties_at_the_middle_rank() -> None:
    """Ranx breaks ties by the order it is given, so tied targets are handed to it at the rank that is documented."""
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(1)
    distinct = rng.permuted(np.tile(np.arange(200.0), (80, 1)), axis=1)
    tied = np.floor(distinct / 3)  # every score three times: the middle of three places is a whole rank
    target = rng.integers(0, 200, 80)
    for name, score in (("distinct", distinct), ("tied", tied)):
        rank = m.mid_ranks(rankings(score, target)).astype(int)
        keep = (score[np.arange(80), target] == np.floor(199 / 3)) & (name == "tied")  # the last score occurs twice
        rank, chosen = rank[~keep], target[~keep]
        run = {}
        for q, (place, item) in enumerate(zip(rank, chosen, strict=True)):
            others = [f"o{i}" for i in range(199)]
            others.insert(place - 1, f"i{item}")
            run[f"q{q}"] = {doc: float(200 - position) for position, doc in enumerate(others)}
        qrels = ranx.Qrels({f"q{q}": {f"i{item}": 1} for q, item in enumerate(chosen)})
        names = [f"{each}@{k}" for each in ("hit_rate", "precision", "recall", "ndcg", "mrr") for k in m.CUTS]
        theirs = ranx.evaluate(qrels, ranx.Run(run), [*names, "mrr"])
        ours = {f"{each}@{k}": m.RANKING[each.replace("hit_rate", "hr")](rank.astype(float), k).mean()
                for each in ("hit_rate", "precision", "recall", "ndcg", "mrr") for k in m.CUTS}  # fmt: skip
        ours["mrr"] = m.mrr(rank.astype(float)).mean()
        for metric, value in theirs.items():
            assert ours[metric] == pytest.approx(value, abs=1e-6), (name, metric)


def test_ndcg_equals_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    score, target = rng.normal(size=(60, 50)), rng.integers(0, 50, 60)
    relevance = np.eye(50)[target]
    rank = m.mid_ranks(rankings(score, target))
    for k in (5, 10, 20):
        assert m.ndcg(rank, k).mean() == pytest.approx(ndcg_score(relevance, score, k=k), abs=1e-6)


@pytest.mark.parametrize("levels", [1000, 5, 1])
def test_auc_and_uauc_equal_scikit_learn_with_ties(levels: int) -> None:
    rng = np.random.default_rng(3)
    user, label = rng.integers(0, 40, 900), rng.random(900) < 0.4
    score = rng.integers(0, levels, 900).astype(float)
    assert m.auc(label, score)[0] == pytest.approx(roc_auc_score(label, score), abs=1e-6)
    weight = rng.integers(1, 4, (2, 900)).astype(float)
    for row in range(2):
        expected = roc_auc_score(label, score, sample_weight=weight[row])
        assert m.auc(label, score, weight)[row] == pytest.approx(expected, abs=1e-6)
    users, each = m.user_aucs(user, label, score)
    expected = {
        u: roc_auc_score(label[user == u], score[user == u]) for u in range(40) if 0 < label[user == u].mean() < 1
    }
    assert dict(zip(users.tolist(), each.tolist(), strict=True)) == pytest.approx(expected, abs=1e-6)


def test_auc_by_hand_and_without_a_second_class() -> None:
    # Of the four pairs two are won, one is lost and one is level: 2.5 of 4.
    assert m.auc(np.array([1, 1, 0, 0], bool), np.array([3.0, 1.0, 1.0, 2.0]))[0] == 0.625
    assert np.isnan(m.auc(np.array([True, True]), np.array([1.0, 2.0]))[0])
    users, each = m.user_aucs(np.array([1, 1, 2]), np.array([True, False, True]), np.array([2.0, 1.0, 5.0]))
    assert (users.tolist(), each.tolist()) == ([1], [1.0])


def test_coverage_and_popularity_by_hand() -> None:
    table = pl.DataFrame({"items": [[1, 2, 3], [2], []]})
    top = m.top_items(table, 2)
    assert top.tolist() == [[1, 2], [2, 0], [0, 0]]
    assert m.coverage(top, 8) == 0.25
    assert m.popularity(top, np.array([0, 10, 4, 1])).tolist() == pytest.approx([7, 4, np.nan], nan_ok=True)
