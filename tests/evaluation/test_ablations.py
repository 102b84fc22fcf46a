import weakref
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from tests.evaluation.test_tables import FIRST, LAST, SECOND
from tests.evaluation.test_tables import outcome as ranked
from weft.cells import Cell
from weft.evaluation.ablations import ablations_of
from weft.evaluation.intervals import resample
from weft.evaluation.tables import Outcome, comparisons_of
from weft.schemas import Ablations, ScoredPairs

USERS, EACH = 12, 8
LABEL = np.tile([True, False, True, False, False, True, False, True], USERS)
USER = np.repeat(np.arange(1, USERS + 1), EACH)
TOLD = {"protocol_digest": "rules", "config_digest": "c", "device": "cpu"}


def scores(seed: int, strength: float) -> np.ndarray:
    """Scores that agree with the labels the more, the stronger."""
    return np.random.default_rng(seed).standard_normal(len(LABEL)) + strength * LABEL


def judged(variant: str, score: np.ndarray, seed: int = 0, system: str = "cit_rec", **told: str) -> Outcome:
    """The labelled pairs of twelve users, all in the test split; the last two rows of everybody are of new items."""
    row = np.arange(len(score))
    frame = pl.DataFrame(
        {
            "system": [system] * len(row), "split": ["test"] * len(row), "row": row, "user": USER[: len(row)],
            "item": row + 1, "label": LABEL[: len(row)], "score": score, "warm": row % EACH < EACH - 2,
        }
    )  # fmt: skip
    cell = Cell("shop", "pointwise_time", "offline", variant, seed)
    return Outcome(cell, {"system": system, **TOLD, **told}, ScoredPairs.cast(frame))


def _weighted(score: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The AUC in each resample, pair by pair."""
    wins = np.sign(score[LABEL][:, None] - score[~LABEL]) / 2 + 0.5
    liked, disliked = weight[:, LABEL], weight[:, ~LABEL]
    return np.einsum("bi,ij,bj->b", liked, wins, disliked, optimize=True) / (liked.sum(1) * disliked.sum(1))


def test_a_variant_is_compared_with_the_whole_system_as_two_independent_ways_of_counting_say() -> None:
    whole, less = [scores(seed, 1.0) for seed in (0, 1)], [scores(10 + seed, 0.3) for seed in (0, 1)]
    leaves = [judged("full", whole[seed], seed) for seed in (0, 1)]
    leaves += [judged("without_image", less[seed], seed) for seed in (0, 1)]
    got = Ablations.validate(ablations_of(leaves))
    row = got.filter(slice="all").row(0, named=True)
    stored = [pair.astype(np.float32) for pair in (*whole, *less)]  # what a table of scores keeps
    aucs = [roc_auc_score(LABEL, score) for score in stored]
    assert row["full"] == pytest.approx((aucs[0] + aucs[1]) / 2)
    assert row["value"] == pytest.approx((aucs[2] + aucs[3]) / 2)
    assert row["delta"] == pytest.approx(row["full"] - row["value"])
    drawn = np.concatenate(list(resample(USERS)))[:, USER - 1]
    deltas = np.array([1, 1, -1, -1]) / 2 @ np.array([_weighted(score, drawn) for score in stored])
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(np.quantile(deltas, [0.025, 0.975]).tolist())
    assert (row["variant"], row["metric"], row["k"], row["n"], row["seeds"]) == (
        "without_image", "auc", None, len(LABEL), 2,
    )  # fmt: skip
    assert set(got["slice"]) == {"all", "warm", "cold"}


def test_only_seeds_that_both_sides_have_are_pooled() -> None:
    whole = [scores(seed, 1.0) for seed in (0, 1, 2)]
    leaves = [judged("full", whole[seed], seed) for seed in (0, 1, 2)] + [judged("zero_shot", scores(9, 0), 1)]
    row = ablations_of(leaves).filter(slice="all").row(0, named=True)
    assert row["seeds"] == 1
    assert row["full"] == pytest.approx(roc_auc_score(LABEL, whole[1].astype(np.float32)))


PAPER, SHORT = {"prompt_settings": '{"history": 10}'}, {"prompt_settings": '{"history": 2}'}


def test_a_variant_of_other_settings_is_no_ablation_and_the_log_says_so(caplog) -> None:
    quick, slow = {**PAPER, "settings": '{"epochs": 1}'}, {**PAPER, "settings": '{"epochs": 5}'}
    full = [judged("full", scores(seed, 1.0), seed, **slow) for seed in (0, 1)]
    same = judged("without_user", scores(2, 0.5), 0, **slow)
    for other in (quick, {**slow, **SHORT}):
        assert ablations_of([*full, judged("without_user", scores(2, 0.5), 0, **other)]).is_empty()
        assert "cit_rec without_user: 1 seeds have other settings" in caplog.text
        caplog.clear()
        row = ablations_of([*full, same, judged("without_user", scores(3, 0.5), 1, **other)]).row(0, named=True)
        assert row["seeds"] == 1, "the seed of equal settings stands"
    caplog.clear()
    plain = judged("plain_network", scores(2, 0.5), 0, **PAPER, settings='{"hidden": 128, "epochs": 30}')
    assert ablations_of([*full, same, plain])["variant"].unique().sort().to_list() == ["plain_network", "without_user"]
    assert not caplog.text


def test_a_model_without_variants_is_not_measured(monkeypatch) -> None:
    plain = judged("full", scores(0, 1.0), system="popularity")
    monkeypatch.setattr("weft.evaluation.ablations.measure", lambda _: pytest.fail("for nothing"))
    assert ablations_of([plain]).is_empty()


def test_what_answered_other_questions_or_other_rules_or_another_system_is_no_variant_of_it() -> None:
    full = judged("full", scores(0, 1.0))
    fewer = judged("without_user", scores(1, 1.0)[:-EACH])
    ruled = judged("without_user", scores(1, 1.0), protocol_digest="other rules")
    foreign = judged("without_user", scores(1, 1.0), system="another")
    assert ablations_of([full, fewer, ruled, foreign]).is_empty()
    assert ablations_of([judged("without_user", scores(1, 1.0))]).is_empty()
    assert Ablations.validate(ablations_of([])).is_empty()


def test_the_order_of_rows_in_a_leaf_changes_nothing() -> None:
    full, less = judged("full", scores(0, 1.0)), judged("text_only", scores(1, 0.2))
    turned = Outcome(less.cell, less.attributes, less.frame.sample(fraction=1, shuffle=True, seed=0))
    assert ablations_of([full, turned]).equals(ablations_of([full, less]))
    assert comparisons_of([full, turned]).equals(comparisons_of([full, less]))


@pytest.mark.parametrize("report", [ablations_of, comparisons_of])
def test_no_more_than_the_rows_of_one_outcome_are_held(report: Callable[[Iterable[Outcome]], pl.DataFrame]) -> None:
    known: list[weakref.ref] = []

    def leaves() -> Iterator[Outcome]:
        for place, variant in enumerate(["without_image", "full", "text_only", "without_user"]):
            leaf = judged(variant, scores(place, 1.0))
            assert sum(each() is not None for each in known) <= 1, "the one before, until this one takes its place"
            known.append(weakref.ref(leaf.frame))
            yield leaf
            del leaf

    streamed = report(leaves())
    listed = [judged(name, scores(place, 1.0)) for place, name in enumerate(["without_image", "full", "text_only"])]
    assert len(known) == 4
    assert len(streamed) > len(report(listed)) > 0
    assert report(listed).equals(report(listed[::-1]))


def test_variants_of_one_system_are_compared_with_each_other_and_with_other_systems() -> None:
    leaves = [judged("full", scores(0, 1.0)), judged("without_image", scores(1, 0.3)),
              judged("full", scores(2, 0.1), system="popularity")]  # fmt: skip
    got = comparisons_of(leaves).filter(metric="auc", slice="all")
    assert got.select("a", "variant_a", "b", "variant_b").rows() == [
        ("cit_rec", "full", "cit_rec", "without_image"),
        ("cit_rec", "full", "popularity", "full"),
        ("cit_rec", "without_image", "popularity", "full"),
    ]


def test_a_variant_of_a_ranking_system_is_judged_by_ndcg() -> None:
    def variant(name: str, score: list) -> Outcome:
        leaf = ranked("cit_rec", score)
        return Outcome(Cell(leaf.cell.dataset, leaf.cell.protocol, "offline", name, 0), leaf.attributes, leaf.frame)

    got = ablations_of([variant("full", [FIRST, FIRST, SECOND]), variant("less", [FIRST, LAST, SECOND])])
    row = got.filter(slice="all").row(0, named=True)
    assert (row["metric"], row["k"]) == ("ndcg", 10)
    assert row["delta"] == pytest.approx((1 - 1 / np.log2(6)) / 3)
