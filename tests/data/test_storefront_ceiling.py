"""What each signal is worth: to the oracle of it alone, and to a plain model that must do without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from weft.data.cleaning import Cleaned, clean
from weft.data.rules import CleaningRules
from weft.data.sequences import Events, Queries, Task
from weft.data.storefront import Oracle, Storefront, StorefrontSettings, simulate
from weft.data.storefront_ceiling import FAST, SLOW, Ceiling, _after, _before, _per_user
from weft.data.storefront_truth import BLOCKS, SIGNALS, VISIT, WIDTH, cells, planted_items
from weft.errors import RequestError
from weft.evaluation.metrics import auc
from weft.evaluation.pairs import scores_of
from weft.evaluation.protocols import protocol
from weft.evaluation.ranking import ndcg_at_10
from weft.schemas import Truth


@pytest.fixture(scope="module")
def front() -> Storefront:
    return simulate(StorefrontSettings())


@pytest.fixture(scope="module")
def shop(front: Storefront) -> Cleaned:
    rules = CleaningRules(rating_min=1, rating_max=5)
    return clean(front.raw_interactions.lazy(), front.raw_items.lazy(), rules)


def asked(shop: Cleaned, name: str) -> tuple[Events, Task]:
    rule = protocol(name)
    splits = rule.split(shop.interactions.lazy()).collect()
    users, items = len(shop.users), len(shop.items)
    return rule.events(splits, users, items), rule.task(splits, "test", items)


@pytest.fixture(scope="module")
def ranking(shop: Cleaned) -> tuple[Events, Task]:
    return asked(shop, "leave_one_out")


@pytest.fixture(scope="module")
def pairs(shop: Cleaned) -> tuple[Events, Task]:
    return asked(shop, "pointwise_time")


def auc_of(liking, task: Task) -> float:
    return float(auc(task.label, scores_of(liking, task))[0])


# ---- the oracle of one signal ----------------------------------------------------------------------------------


def test_signals_are_the_whole_vector_but_popularity_and_share_no_cell() -> None:
    covered = np.zeros(WIDTH, int)
    for signal in SIGNALS:
        for cell in cells(signal):
            covered[cell] += 1
    covered[BLOCKS["popularity"]] += 1
    assert (covered == 1).all()
    with pytest.raises(RequestError, match="no signal taste"):
        cells("taste")


def test_the_affinity_is_the_sum_of_what_the_oracles_of_one_signal_add_to_popularity(front, shop, ranking) -> None:
    queries = ranking[1].queries.take(np.arange(50))

    def score(signals) -> torch.Tensor:
        return Oracle(front.truth, shop.users, shop.items, signals).score(queries)

    none, whole = score(()), score(None)
    released = torch.isfinite(whole)
    parts = sum(score({signal}) - none for signal in SIGNALS)
    assert torch.allclose((parts + none)[released], whole[released], atol=1e-4)
    assert (none[released].reshape(-1, 1) != 0).any()


def test_each_signal_alone_tells_something_and_only_lasting_ones_tell_of_ratings(front, shop, ranking, pairs) -> None:
    def figures(signals) -> tuple[float, float]:
        oracle = Oracle(front.truth, shop.users, shop.items, signals)
        return ndcg_at_10(oracle.score, ranking[1]), auc_of(oracle.liking, pairs[1])

    none, whole = figures(()), figures(None)
    assert none[1] == 0.5
    for signal in SIGNALS:
        place, liked = figures({signal})
        assert none[0] + 0.005 < place < whole[0] - 0.1, signal
        assert (liked == 0.5) if signal in VISIT else (0.58 < liked < whole[1] - 0.1), signal


def test_an_oracle_of_something_unknown_is_refused(front, shop) -> None:
    with pytest.raises(RequestError, match="no signal humour"):
        Oracle(front.truth, shop.users, shop.items, {"humour"})
    with pytest.raises(RequestError, match="no signal humour"):
        Ceiling(front.truth, shop.items, None, {"humour"})  # type: ignore[arg-type]


# ---- the ceiling -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ceilings(front, shop, ranking, pairs) -> tuple[float, float]:
    """NDCG@10 and AUC of the whole ceiling."""
    ranks = Ceiling(front.truth, shop.items, ranking[0])
    likes = Ceiling(front.truth, shop.items, pairs[0])
    return ndcg_at_10(ranks.score, ranking[1]), auc_of(likes.liking, pairs[1])


def test_the_ceiling_stands_between_popularity_and_the_oracle(front, shop, ranking, pairs, ceilings) -> None:
    oracle = Oracle(front.truth, shop.users, shop.items)
    taken = np.bincount(ranking[0].item, minlength=601).astype(np.float32)
    popular = ndcg_at_10(lambda queries: torch.from_numpy(np.tile(taken, (len(queries), 1))), ranking[1])
    assert 4 * popular < ceilings[0] < ndcg_at_10(oracle.score, ranking[1]) - 0.1
    assert 0.68 < ceilings[1] < auc_of(oracle.liking, pairs[1]) - 0.1


@pytest.mark.parametrize("signal", [signal for signal in SIGNALS if signal not in VISIT])
def test_without_a_lasting_signal_the_ceiling_of_pairs_is_visibly_lower(front, shop, pairs, ceilings, signal) -> None:
    without = Ceiling(front.truth, shop.items, pairs[0], {signal})
    assert auc_of(without.liking, pairs[1]) < ceilings[1] - 0.01


def test_without_the_occasion_or_the_other_domain_ceilings_are_visibly_lower(
    front, shop, ranking, pairs, ceilings
) -> None:
    without = Ceiling(front.truth, shop.items, ranking[0], {"occasion"})
    assert ndcg_at_10(without.score, ranking[1]) < ceilings[0] - 0.05
    apart = Ceiling(front.truth, shop.items, pairs[0], carries_over=False)
    assert auc_of(apart.liking, pairs[1]) < ceilings[1] - 0.01


def test_equal_events_give_equal_ceilings_of_pairs_whatever_the_history_of_a_query(front, shop, pairs) -> None:
    train, task = pairs
    first = Ceiling(front.truth, shop.items, train).liking(task.queries, task.target)
    assert first.dtype == np.float32
    queries = replace(task.queries, items=np.ones_like(task.queries.items))  # pairs are judged by training events alone
    assert (Ceiling(front.truth, shop.items, train).liking(queries, task.target) == first).all()


def test_a_ceiling_of_one_kind_of_protocol_refuses_the_other_and_equal_events_give_equal_ranks(
    front, shop, ranking, monkeypatch
) -> None:
    monkeypatch.setattr("weft.data.storefront_ceiling.STEPS", 3)
    few = replace(ranking[0], user=ranking[0].user[:500], item=ranking[0].item[:500])
    queries = ranking[1].queries.take(np.arange(9))
    first = Ceiling(front.truth, shop.items, few)
    scores = first.score(queries)
    assert scores.dtype == torch.float32
    assert scores.shape == (9, 601)
    assert torch.isneginf(scores[:, 0]).all()
    assert torch.equal(Ceiling(front.truth, shop.items, few).score(queries), scores)
    with pytest.raises(RequestError, match="this ceiling ranks"):
        first.liking(queries, ranking[1].target[:9])
    labelled = Ceiling(front.truth, shop.items, replace(few, label=np.ones(500, np.float32)))
    with pytest.raises(RequestError, match="scores pairs"):
        labelled.score(queries)


def test_items_without_truth_are_refused_and_rows_follow_the_numbers_of_items() -> None:
    vector = np.zeros((2, WIDTH), np.float32)
    vector[0, 0], vector[1, 1] = 1, 1
    rows = [("item", "a", 5, vector[0].tolist()), ("item", "b", 7, vector[1].tolist())]
    truth = Truth.validate(pl.DataFrame(rows, schema=["kind", "id", "since", "vector"], orient="row"), cast=True)
    items = pl.DataFrame({"item": [2, 1], "item_id": ["a", "b"]}, schema_overrides={"item": pl.Int32})
    table, release = planted_items(truth, items)
    assert table[:, :2].tolist() == [[0, 0], [0, 1], [1, 0]]
    assert release.tolist() == [0, 7, 5]
    with pytest.raises(RequestError, match="1 items have no planted truth"):
        planted_items(truth, items.with_columns(item_id=pl.Series(["a", "c"])))


# ---- its parts, against what one finds by hand -----------------------------------------------------------------


def test_a_profile_is_the_decayed_mean_of_what_came_before() -> None:
    train = Events(
        user=np.array([1, 1, 1, 3], np.int32), item=np.array([1, 2, 1, 2], np.int32), timestamp=None, label=None,
        n_users=3, n_items=2,
    )  # fmt: skip
    table = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    expected = [[0, 0], [1 / 3, 0], [0.5 / 3.5, 1 / 3.5], [0, 0]]  # begins with two events' worth of nothing
    assert np.allclose(_before(train, table, 0.5, 2.0), expected)
    queries = Queries(np.arange(2), np.array([1, 3], np.int32), None, np.array([1, 2], np.int32), np.array([0, 2, 2]))
    assert np.allclose(_after(queries, table, 0.5, 2.0), [expected[2], [0, 0]])


@pytest.mark.parametrize("how", [SLOW, FAST])
def test_a_history_has_the_profile_that_a_training_event_after_it_had(ranking, shop, front, how) -> None:
    train = ranking[0]
    table = planted_items(front.truth, shop.items)[0]
    before = _before(train, table, *how)
    last = train.offsets[1:] - 1  # of each user, the last training event; its history is all before it
    spans = [train.item[train.offsets[u] : last[u]] for u in range(1, 40)]
    offsets = np.concatenate([[0], np.cumsum([len(span) for span in spans])])
    queries = Queries(np.arange(39), np.arange(1, 40, dtype=np.int32), None, np.concatenate(spans), offsets)
    assert np.allclose(_after(queries, table, *how), before[last[1:40]], atol=1e-4)


def test_weights_of_users_are_found_again_where_labels_are_drawn_from_them() -> None:
    rng = np.random.default_rng(0)
    users, each, width = 400, 30, 3
    table = np.concatenate([np.zeros((1, width)), rng.standard_normal((200, width))]).astype(np.float32)
    true = rng.standard_normal((users + 1, width)) @ np.diag([1.0, 0.5, 0.0]) + np.array([0.3, 0.0, -0.7])
    user = np.repeat(np.arange(1, users + 1), each).astype(np.int32)
    item = rng.integers(1, 201, len(user)).astype(np.int32)
    label = (np.einsum("nd,nd->n", true[user], table[item]) + 0.5 * rng.standard_normal(len(user))).astype(np.float32)
    train = Events(user, item, None, label, users + 1, 200)
    found = _per_user(train, table)
    assert found.shape == (users + 2, width + 1)
    assert np.abs(found[1 : users + 1, :width] - true[1:]).mean() < 0.08
    assert np.abs(found[1 : users + 1, 2] - (-0.7)).mean() < 0.06  # what nobody differs in is shared by all
    assert np.abs(found[users + 1] - [0.3, 0, -0.7, 0]).max() < 0.15  # somebody without labels
