import polars as pl
import pytest

from tests.evaluation.test_ablations import EACH, LABEL, USERS, judged, scores
from tests.evaluation.test_tables import FIRST, outcome
from weft.evaluation.costs import costs_of
from weft.evaluation.tables import Outcome
from weft.schemas import Costs

SPENT = {"seconds_fit": "30", "seconds_score": "2.4", "parameters": "1000", "language_model": "house"}


def test_seconds_are_told_per_query_and_per_user_as_means_over_seeds() -> None:
    more = SPENT | {"seconds_fit": "50", "seconds_score": "7.2"}
    leaves = [judged("full", scores(0, 1), 0, **SPENT), judged("full", scores(1, 1), 1, **more)]
    row = Costs.validate(costs_of(leaves)).row(0, named=True)
    assert (row["queries"], row["users"], row["seeds"]) == (len(LABEL), USERS, 2)
    assert row["seconds_fit"] == pytest.approx(40)
    assert row["parameters"] == 1000
    assert row["seconds_score"] == pytest.approx(4.8)
    assert row["ms_per_query"] == pytest.approx(1000 * 4.8 / len(LABEL))
    assert row["ms_per_user"] == pytest.approx(1000 * 4.8 / USERS)


def test_a_system_says_whether_a_language_model_answers_and_variants_and_devices_stand_apart() -> None:
    leaves = [
        judged("full", scores(0, 1), **SPENT),
        judged("plain_network", scores(0, 1), **(SPENT | {"language_model": ""})),
        judged("full", scores(0, 1), 1, **(SPENT | {"device": "cuda"})),
        outcome("popularity", [FIRST, FIRST]),
    ]
    got = costs_of(leaves)
    assert got.select("system", "variant", "device", "language_model").rows() == [
        ("popularity", "full", "cpu", False),
        ("cit_rec", "full", "cpu", True),
        ("cit_rec", "full", "cuda", True),
        ("cit_rec", "plain_network", "cpu", False),
    ]
    assert got.filter(system="popularity")["ms_per_query"].to_list() == [None]


def test_an_anonymous_row_is_somebody_of_its_own() -> None:
    leaf = judged("full", scores(0, 1), **SPENT)
    nobody = leaf.frame.with_columns(user=pl.when(pl.col("row") < 2 * EACH).then(0).otherwise("user").cast(pl.Int32))
    row = costs_of([Outcome(leaf.cell, leaf.attributes, nobody)]).row(0, named=True)
    assert row["users"] == USERS - 2 + 2 * EACH
    assert row["ms_per_user"] == pytest.approx(1000 * 2.4 / row["users"])


def test_nothing_scored_costs_nothing() -> None:
    assert Costs.validate(costs_of([])).is_empty()
    none = judged("full", scores(0, 1)[:0], **SPENT)
    assert costs_of([none]).select("queries", "ms_per_query", "ms_per_user").rows() == [(0, None, None)]
