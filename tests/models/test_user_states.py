"""States before labelled rows: who gets one, what is in it, and what never can be."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.evaluation.events import interactions
from weft.data.sequences import Queries
from weft.evaluation.protocols import Protocol, protocol
from weft.models.next_liked import NextLiked, _liked
from weft.models.user_states import UserStatesSettings, user_states, without_later
from weft.training.runtime import Runtime

COLUMNS = ("user", "item", "timestamp", "rating")
ITEMS, USERS = 12, 20
SETTINGS = UserStatesSettings(width=8, blocks=1, length=6, epochs=2, batch=16, learning_rate=0.02)
MONTHS = {"train_from": 0, "validation_from": 700, "test_from": 800, "test_until": 2_000}
RULES = {
    "pointwise_time": {},
    "pointwise_collm_months": MONTHS,
    "paper_tallrec_blocks": {"by": "windows"},
    "without times": {"by": "users"},
}


def _ratings(*, times: bool = True) -> pl.DataFrame:
    """Fifteen ratings of each of twenty users over a thousand seconds, some in one second."""
    rng = np.random.default_rng(3)
    n = 15 * USERS
    rows = zip(
        rng.permutation(np.repeat(np.arange(1, USERS + 1), 15)).tolist(),
        rng.integers(1, ITEMS + 1, n).tolist(),
        np.sort(rng.integers(0, 1_000, n)).tolist() if times else [None] * n,
        rng.integers(1, 6, n).astype(float).tolist(),
        strict=True,
    )
    return interactions(list(rows), COLUMNS)


def _rule(name: str) -> Protocol:
    return protocol("paper_tallrec_blocks" if name == "without times" else name, RULES[name])


@pytest.fixture(scope="module", params=RULES)
def case(request: pytest.FixtureRequest) -> tuple[Protocol, pl.DataFrame]:
    rule = _rule(request.param)
    return rule, rule.split(_ratings(times=request.param != "without times").lazy()).collect()


def _fitted(rule: Protocol, splits: pl.DataFrame) -> NextLiked:
    model, early = NextLiked(SETTINGS), without_later(splits, SETTINGS.share)
    model.fit(rule.events(early, USERS, ITEMS), rule.task(early, "validation", ITEMS), Runtime(device="cpu", threads=1))
    return model


def _states(rule: Protocol, splits: pl.DataFrame, model: NextLiked) -> dict[int, np.ndarray]:
    table = user_states(model, rule, splits, ITEMS, SETTINGS.share)
    return dict(zip(table["row"].to_list(), table["vector"].to_numpy(), strict=True))


def _split(rows: list[tuple[int, int, int | None]], share: float) -> list[int]:
    """(row, user, timestamp) of training rows; the rows that are early."""
    frame = pl.DataFrame(rows, schema={"row": pl.Int64, "user": pl.Int32, "timestamp": pl.Int64}, orient="row")
    held = pl.DataFrame({"row": 99, "user": 1, "timestamp": 0, "split": "test"}, schema_overrides={"user": pl.Int32})
    return without_later(pl.concat([frame.with_columns(split=pl.lit("train")), held]), share)["row"].to_list()


def test_early_are_the_first_rows_by_time_and_by_source_row_where_that_is_equal() -> None:
    rows = [(7, 1, 10), (2, 1, 20), (5, 1, 30), (3, 2, 20), (1, 2, 20), (9, 3, 5)]
    assert _split(rows, 0.5) == [7, 1, 9, 99]
    assert _split(rows, 0.4) == [7, 1, 9, 99]  # 2.4 rows: the one that begins before the cut is early
    assert _split(rows, 0.8) == [7, 2, 3, 1, 9, 99]


def test_without_times_whole_users_are_early_in_the_order_of_their_first_rows() -> None:
    rows = [(4, 1, None), (8, 1, None), (2, 2, None), (9, 2, None), (3, 3, None), (5, 3, None)]
    assert _split(rows, 0.5) == [2, 9, 3, 5, 99], "user 2, and user 3 at the cut"
    assert _split(rows, 0.3) == [2, 9, 99]


def test_later_training_rows_and_all_held_out_rows_have_a_state_and_early_ones_none(
    case: tuple[Protocol, pl.DataFrame],
) -> None:
    rule, splits = case
    model = _fitted(rule, splits)
    table = user_states(model, rule, splits, ITEMS, SETTINGS.share)
    early = set(without_later(splits, SETTINGS.share).filter(split="train")["row"])
    asked = splits.filter((pl.col("split") == "train") | pl.col("target")).filter(~pl.col("row").is_in(list(early)))
    assert table["row"].to_list() == sorted(asked["row"])
    assert table.select("row", "split", "user").equals(asked.select("row", "split", "user").sort("row"))
    assert 0.4 < len(early) / splits.filter(split="train").height < 0.62
    assert table.schema["vector"] == pl.Array(pl.Float32, 8)
    assert np.isfinite(table["vector"].to_numpy()).all()


def test_a_state_is_that_after_the_positives_before_the_row(case: tuple[Protocol, pl.DataFrame]) -> None:
    rule, splits = case
    model = _fitted(rule, splits)
    states = _states(rule, splits, model)
    order = splits.filter(pl.col("split") != "unused").sort("user", "timestamp", "row").rows(named=True)
    for row, state in states.items():
        (place,) = [place for place, other in enumerate(order) if other["row"] == row]
        own = order[place]
        before = [other for other in order[:place] if other["user"] == own["user"]]
        if own["split"] == "train":  # what is known then is what training holds
            before = [other for other in before if other["split"] == "train"]
        if own["split"] == "validation":
            before = [other for other in before if other["split"] != "test"]
        if rule.window is not None:
            before = before[-rule.window :]
        liked = np.array([other["item"] for other in before if other["label"]], np.int32)
        query = Queries(np.zeros(1, np.int64), np.zeros(1, np.int32), None, liked, np.array([0, len(liked)]))
        np.testing.assert_allclose(state, model.query_vectors(query)[0], atol=1e-5)


def test_the_fit_does_not_depend_on_the_later_training_rows(case: tuple[Protocol, pl.DataFrame]) -> None:
    rule, splits = case
    early = without_later(splits, SETTINGS.share)["row"].implode()
    poisoned = (pl.col("split") == "train") & ~pl.col("row").is_in(early)
    other = splits.with_columns(
        label=pl.col("label") ^ poisoned, item=pl.when(poisoned).then(pl.lit(1, pl.Int32)).otherwise("item")
    )
    assert not other.equals(splits)
    clean, dirty = _fitted(rule, splits).tensors(), _fitted(rule, other).tensors()
    for name, tensor in clean.items():
        np.testing.assert_array_equal(tensor, dirty[name])


def _changed(splits: pl.DataFrame, row: int, **columns: object) -> pl.DataFrame:
    here = pl.col("row") == row
    return splits.with_columns(
        pl.when(here).then(pl.lit(value, splits.schema[name])).otherwise(name).alias(name)
        for name, value in columns.items()
    )


def test_a_state_changes_with_a_past_row_and_never_with_its_target_or_a_later_row(
    case: tuple[Protocol, pl.DataFrame],
) -> None:
    rule, splits = case
    model = _fitted(rule, splits)
    states = _states(rule, splits, model)
    order = splits.filter(pl.col("split") != "unused").sort("user", "timestamp", "row")
    moved = 0
    for row in list(states)[:: max(len(states) // 12, 1)]:
        user = order.filter(pl.col("user") == order.filter(row=row)["user"].item())
        place = user["row"].to_list().index(row)
        own = user.row(place, named=True)
        for later in user.rows(named=True)[place:]:  # the target first
            touched = _changed(splits, later["row"], item=later["item"] % ITEMS + 1, label=not later["label"])
            after = _states(rule, touched, model)
            # To the last bits, which may depend on a row's place in a product.
            np.testing.assert_allclose(after[row], states[row], atol=1e-6)
        liked = user.head(place).filter("label", split=own["split"])
        if liked.height and user.head(place).tail(4).filter(row=liked["row"][-1]).height:
            past = liked.row(-1, named=True)
            touched = _changed(splits, past["row"], item=past["item"] % ITEMS + 1)
            assert not np.allclose(_states(rule, touched, model)[row], states[row], atol=1e-3)
            moved += 1
    assert moved, "no row with a positive just before it was looked at"


def test_nobody_of_whom_nothing_is_known_stands_out(case: tuple[Protocol, pl.DataFrame]) -> None:
    rule, splits = case
    disliked = splits.with_columns(label=pl.col("label") & (pl.col("split") == "train"))
    model = _fitted(rule, disliked)
    nothing = disliked.with_columns(label=pl.when(pl.col("label").is_not_null()).then(pl.lit(value=False)))
    vectors = np.stack(list(_states(rule, nothing, model).values()))
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors, np.repeat(vectors[:1], len(vectors), axis=0), atol=1e-6)


def test_what_was_disliked_neither_teaches_nor_picks_the_epoch(case: tuple[Protocol, pl.DataFrame]) -> None:
    rule, splits = case
    disliked = ~pl.col("label") & (pl.col("split") != "test")
    other = splits.with_columns(item=pl.when(disliked).then(pl.col("item") % ITEMS + 1).otherwise("item"))
    clean, dirty = _fitted(rule, splits).tensors(), _fitted(rule, other).tensors()
    for name, tensor in clean.items():
        np.testing.assert_array_equal(tensor, dirty[name])


def test_the_epoch_is_picked_by_the_next_liked_item_among_those_not_taken_yet() -> None:
    rule = _rule("pointwise_time")
    splits = rule.split(_ratings().lazy()).collect()
    task = rule.task(splits, "validation", ITEMS)
    asked = _liked(task)
    assert asked is not None
    assert asked.filter_seen
    assert asked.label is None
    liked = splits.filter("label", split="validation")
    assert asked.queries.query.tolist() == liked["row"].to_list()
    assert asked.target.tolist() == liked["item"].to_list()
    assert task.label is not None
    assert _liked(replace(task, label=np.zeros_like(task.label))) is None
    nothing_liked = splits.with_columns(label=pl.col("label") & (pl.col("split") == "train"))
    model, early = NextLiked(SETTINGS), without_later(nothing_liked, SETTINGS.share)
    validation = rule.task(early, "validation", ITEMS)
    history = model.fit(rule.events(early, USERS, ITEMS), validation, Runtime(device="cpu", threads=1))
    assert history["best"].to_list() == [False, True], "the last epoch stands where nothing can pick one"
