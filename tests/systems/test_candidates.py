"""CIT-Rec's listwise mode: which items it learns from, which it is asked about, and where a scored target stands."""

import numpy as np
import polars as pl
import pytest
import torch

from weft.data.sequences import Queries
from weft.errors import WeftError
from weft.evaluation.protocols import protocol
from weft.schemas import Interactions, Negatives
from weft.systems import candidates
from weft.systems.settings import PromptSettings

RULE = protocol("paper_candidates_20", {"min_item_events": 1})
DAY = 86_400
SESSIONS = [[1, 2, 3], [4, 5], [1, 6], [2, 3, 4], [5, 6], [1, 2], [3, 4], [5, 1], [6, 2, 5], [3, 7]]
"""Items of one user, a day each; eight days are training, one is validation, one the test."""
DOMAINS = {1: "a", 2: "a", 3: "a", 4: "a", 5: "b", 6: "b", 7: "b"}
ITEMS = pl.DataFrame({"item": list(DOMAINS), "domain": list(DOMAINS.values())}, schema_overrides={"item": pl.Int32})
DRAWN = pl.DataFrame({"query": [20, 22], "split": ["validation", "test"], "items": [[1, 3], [5, 2, 6]]})


def splits() -> pl.DataFrame:
    taken = [(day, item) for day, items in enumerate(SESSIONS) for item in items]
    rows = [{"row": row, "user": 1, "item": i, "timestamp": day * DAY + row} for row, (day, i) in enumerate(taken)]
    interactions = Interactions.cast(pl.DataFrame(rows, schema=Interactions.create_empty().schema))
    return RULE.split(interactions.lazy()).collect()


def learnt(seed: int = 0, stated: range = range(99), **settings: int) -> pl.DataFrame:
    chosen = PromptSettings(**{"history": 5, **settings})
    return candidates.learnt(RULE, splits(), ITEMS, pl.Series("row", list(stated), pl.Int64), chosen, seed)


def test_a_session_is_learnt_item_by_item_after_its_first() -> None:
    true = learnt().filter("label")
    # Row 11 is left out: its session holds both items of the domain that training knows, 5 and 6.
    assert true["row"].to_list() == [1, 2, 4, 6, 8, 9, 13, 15, 17]
    assert true["item"].to_list() == [2, 3, 5, 6, 3, 4, 2, 4, 1]
    assert true["before"].to_list() == [[0], [0, 1], [3], [5], [7], [7, 8], [12], [14], [16]]


def test_beside_each_true_item_one_is_drawn_that_its_session_does_not_hold() -> None:
    by_row = dict(splits().select("row", "session").iter_rows())
    drawn: dict[int, set[int]] = {}
    for seed in range(40):
        table = learnt(seed)
        true, other = table[::2], table[1::2]
        assert true["label"].all()
        assert not other["label"].any()
        assert true.drop("item", "label").equals(other.drop("item", "label"))
        for row, item in other.select("row", "item").iter_rows():
            drawn.setdefault(row, set()).add(item)
    known = {item for session in SESSIONS[:8] for item in session}
    for row, item in learnt().filter("label").select("row", "item").iter_rows():
        allowed = {other for other in known if DOMAINS[other] == DOMAINS[item]} - set(SESSIONS[by_row[row] - 1])
        assert drawn[row] == allowed, "every one of them at some time, and no other"


def test_rows_count_prompts_and_come_from_the_seed() -> None:
    assert learnt(rows=6).equals(learnt(rows=6))
    assert learnt(rows=6)["row"].to_list() != learnt(seed=1, rows=6)["row"].to_list()
    assert len(learnt(rows=4, stated=range(11))) == 4
    assert len(learnt(rows=5, stated=range(11))) == 6, "a true item never goes without the other"


def test_the_history_is_cut_and_rows_without_a_state_are_not_learnt_from() -> None:
    assert learnt(history=1).filter("label")["before"].to_list() == [[0], [1], [3], [5], [7], [8], [12], [14], [16]]
    assert learnt(history=0)["row"].to_list() == learnt()["row"].to_list(), "a prefix is needed, told or not"
    assert learnt(history=0)["before"].list.len().sum() == 0
    assert learnt(stated=range(8, 14))["row"].unique().to_list() == [8, 9, 13]


def test_the_target_is_asked_about_and_every_item_that_was_drawn_for_it() -> None:
    test = candidates.asked(RULE, splits(), Negatives.cast(DRAWN), "test", 5)
    assert test.select("row", "item", "label").rows() == [(22, 7, True), (22, 5, False), (22, 2, False), (22, 6, False)]
    assert test["before"].to_list() == [[21]] * 4
    validation = candidates.asked(RULE, splits(), Negatives.cast(DRAWN), "validation", 1)
    assert validation.select("item", "before").rows() == [(5, [19]), (1, [19]), (3, [19])]


def test_a_target_for_which_nothing_was_drawn_is_an_error() -> None:
    with pytest.raises(WeftError, match="no drawn items"):
        candidates.asked(RULE, splits(), Negatives.cast(DRAWN.head(1)), "test", 5)


def test_scores_are_found_again_by_query_and_item_in_any_order() -> None:
    rows, items = np.array([9, 4, 9, 4]), np.array([2, 1, 3, 3], np.int32)
    score = candidates.scorer(rows, items, np.array([0.5, 1.0, 2.0, 3.0]), 4)
    asked = Queries(np.array([4, 7, 9]), np.zeros(3, np.int32), None, np.zeros(0, np.int32), np.zeros(4, np.int64))
    none = -torch.inf
    expected = [[none, 1.0, none, 3.0, none], [none] * 5, [none, none, 0.5, 2.0, none]]
    assert torch.equal(score(asked), torch.tensor(expected))
