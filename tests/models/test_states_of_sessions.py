"""States before rows of sessions: all that the session held before the row, and nothing of another session."""

import numpy as np
import polars as pl
import pytest

from tests.evaluation.events import interactions
from weft.data.sequences import Queries
from weft.evaluation.protocols import protocol
from weft.models.next_liked import NextLiked
from weft.models.user_states import UserStatesSettings, user_states, without_later
from weft.training.runtime import Runtime

ITEMS, USERS, DAYS, DAY = 12, 6, 5, 86_400
RULE = protocol("paper_candidates_20", {"min_item_events": 1})
SETTINGS = UserStatesSettings(width=8, blocks=1, length=30, epochs=1, batch=8, learning_rate=0.02)


@pytest.fixture(scope="module")
def splits() -> pl.DataFrame:
    """Five days of six users: a few rows a day, and on the third day more than a window holds."""
    rng, rows = np.random.default_rng(4), []
    for day in range(DAYS):
        for user in range(1, USERS + 1):
            rows += [(user, int(item), day * DAY + user) for item in rng.integers(1, ITEMS + 1, 25 if day == 2 else 4)]
    return RULE.split(interactions(rows, ("user", "item", "timestamp")).lazy()).collect()


@pytest.fixture(scope="module")
def model(splits: pl.DataFrame) -> NextLiked:
    model, early = NextLiked(SETTINGS), without_later(splits, SETTINGS.share)
    runtime = Runtime(device="cpu", threads=1)
    model.fit(RULE.events(early, USERS, ITEMS), RULE.task(early, "validation", ITEMS), runtime)
    return model


def states(splits: pl.DataFrame, model: NextLiked) -> dict[int, np.ndarray]:
    table = user_states(model, RULE, splits, ITEMS, SETTINGS.share)
    return dict(zip(table["row"].to_list(), table["vector"].to_numpy(), strict=True))


def test_a_state_is_that_after_the_rows_of_the_session_before(splits: pl.DataFrame, model: NextLiked) -> None:
    found, longest = states(splits, model), 0
    order = splits.filter(pl.col("split") != "unused").sort("session", "timestamp", "row").rows(named=True)
    parts = ["train", "validation", "test"]
    early = without_later(splits, SETTINGS.share).filter(split="train")["row"].to_list()
    for place, own in enumerate(order):
        asked = own["target"] or (own["split"] == "train" and own["row"] not in early)
        assert (own["row"] in found) == asked
        if asked:
            visible = parts[: parts.index(own["split"]) + 1]
            before = [
                other["item"]
                for other in order[:place]
                if other["session"] == own["session"] and other["split"] in visible
            ]
            longest = max(longest, len(before))
            past = np.array(before[-19:], np.int32)
            query = Queries(np.zeros(1, np.int64), np.zeros(1, np.int32), None, past, np.array([0, len(past)]))
            np.testing.assert_allclose(found[own["row"]], model.query_vectors(query)[0], atol=1e-5)
    assert longest > 19, "no session was longer than the window"


def test_a_state_knows_nothing_of_its_row_or_what_comes_after(splits: pl.DataFrame, model: NextLiked) -> None:
    found = states(splits, model)
    row = splits.filter("target", split="test")["row"][0]
    moment = splits.filter(row=row)["timestamp"].item()
    later = (pl.col("row") == row) | (pl.col("timestamp") > moment)
    other = splits.with_columns(item=pl.when(later).then(pl.col("item") % ITEMS + 1).otherwise("item"))
    np.testing.assert_array_equal(states(other, model)[row], found[row])
