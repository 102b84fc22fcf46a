"""The canary: an item of the catalogue that sings in the future only must not be heard by anything that trains.

Two worlds share users, items and everything up to the test split. In one of them the canary takes the place of the
test events (and, where time decides, comes on top of them). All that is made before the test must be equal.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from tests.evaluation.events import interactions
from tests.models import contracts as c
from weft.data.sequences import Task
from weft.evaluation.protocols import Protocol, protocol, seen_in_training, tied_time
from weft.evaluation.ranking import rank
from weft.models.registry import MODELS

CANARY, USERS = c.N_ITEMS, 40
TEST_FROM = 8_000


def _world() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    user = rng.integers(1, USERS + 1, 600)
    return interactions(list(zip(user, rng.integers(1, CANARY, 600), rng.integers(0, 10_000, 600), strict=True)))


def _sung(world: pl.DataFrame, future: pl.Series) -> pl.DataFrame:
    """The canary instead of every item of the ``future`` rows."""
    return world.with_columns(
        item=pl.when(pl.col("row").is_in(future.implode())).then(CANARY).otherwise("item").cast(pl.Int32)
    )


def _leave_one_out() -> tuple[Protocol, pl.DataFrame, pl.DataFrame]:
    rule, world = protocol("leave_one_out"), _world()
    test = rule.split(world.lazy()).filter(pl.col("split") == "test").collect()["row"]
    return rule, world, _sung(world, test)


def _global_time() -> tuple[Protocol, pl.DataFrame, pl.DataFrame]:
    rule, world = protocol("global_time", {"validation_from": 7_000, "test_from": TEST_FROM}), _world()
    added = interactions([(user, CANARY, TEST_FROM + user) for user in range(1, USERS + 1)])
    added = added.with_columns(pl.col("row") + len(world))
    future = world.filter(pl.col("timestamp") >= TEST_FROM)["row"]
    return rule, world, pl.concat([_sung(world, future), added])


def _others(name: str, rules: dict) -> Callable[[], tuple[Protocol, pl.DataFrame, pl.DataFrame]]:
    """Worlds with ratings and visits, and in the second of them the canary in place of every test event."""

    def worlds() -> tuple[Protocol, pl.DataFrame, pl.DataFrame]:
        rule, world = protocol(name, rules), _world()
        rating = pl.Series([1.0, 3.0, 4.0, 5.0] * (len(world) // 4), dtype=pl.Float32)
        world = world.with_columns(rating=rating, session_id=(pl.col("timestamp") // 900).cast(pl.String))
        test = rule.split(world.lazy()).filter(pl.col("split") == "test").collect()["row"]
        sung = _sung(world, test)
        if rule.kind == "pointwise":  # the future likes other things as well
            sung = sung.with_columns(
                rating=pl.when(pl.col("item") == CANARY).then(6 - pl.col("rating")).otherwise("rating")
            )
        return rule, world, sung

    return worlds


_top = _others("leave_one_out_top1000", {"size": 5})
_sessions = _others("sessions", {})
_gaps = _others("sessions", {"by": "gap", "seconds": 900, "targets": "all_prefixes"})
_pairs = _others("pointwise_time", {})


def _digest(splits: pl.DataFrame) -> str:
    return hashlib.sha256(splits.write_csv().encode()).hexdigest()


@pytest.mark.parametrize("worlds", [_top, _sessions, _gaps, _pairs])
def test_training_and_validation_are_equal_by_digest_whatever_the_test_holds(worlds) -> None:
    rule, *both = worlds()
    splits = [rule.split(world.lazy()).collect() for world in both]
    before = [each.filter(pl.col("split").is_in(["train", "validation"])) for each in splits]
    assert before[0].height > 200
    assert not splits[0].equals(splits[1]), "the test does hold something else"
    assert _digest(before[0]) == _digest(before[1])
    _same_task(*(rule.task(each, "validation", CANARY) for each in splits))


@pytest.mark.parametrize("worlds", [_top, _sessions, _gaps, _pairs])
def test_training_events_are_equal_by_digest_whatever_is_held_out(worlds) -> None:
    rule, world, _ = worlds()
    held = rule.split(world.lazy()).filter(pl.col("split").is_in(["validation", "test"])).collect()["row"]
    splits = [rule.split(each.lazy()).collect() for each in (world, _sung(world, held))]
    train = [each.filter(pl.col("split") == "train") for each in splits]
    assert train[0].height > 200
    assert _digest(train[0]) == _digest(train[1])


def _same_task(a: Task, b: Task) -> None:
    assert a.queries.time is not None
    for left, right in (
        (a.queries.query, b.queries.query),
        (a.queries.user, b.queries.user),
        (a.queries.time, b.queries.time),
        (a.queries.items, b.queries.items),
        (a.queries.offsets, b.queries.offsets),
        (a.target, b.target),
        (a.candidates, b.candidates),
    ):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("worlds", [_leave_one_out, _global_time])
def test_nothing_before_the_test_hears_the_canary(worlds) -> None:
    rule, *both = worlds()
    splits = [rule.split(world.lazy()).collect() for world in both]
    assert CANARY in splits[1].filter(split="test", target=True)["item"]
    before = [each.filter(pl.col("split") != "test") for each in splits]
    assert before[0].equals(before[1])
    events = [rule.events(each, USERS, CANARY) for each in splits]
    np.testing.assert_array_equal(events[0].user, events[1].user)
    np.testing.assert_array_equal(events[0].item, events[1].item)
    np.testing.assert_array_equal(events[0].timestamp, events[1].timestamp)
    np.testing.assert_array_equal(*(seen_in_training(each) for each in events))
    _same_task(*(rule.task(each, "validation", CANARY) for each in splits))


@pytest.mark.parametrize("name", filter(c.ranks, MODELS))
@pytest.mark.parametrize("worlds", [_leave_one_out, _global_time])
def test_no_model_learns_of_the_canary(name: str, worlds) -> None:
    rule, *both = worlds()
    models, rankings = [], []
    for world in both:
        splits = rule.split(world.lazy()).collect()
        events, task = rule.events(splits, USERS, CANARY), rule.task(splits, "validation", CANARY)
        model = c.build(name, epochs=4)
        model.fit(events, task, c.runtime())
        models.append(model)
        warm = seen_in_training(events)
        ties = tied_time(splits, "validation")
        rankings.append(rank(model.score, task, system=name, seen_in_training=warm, tied_time=ties))
    c.assert_same_tensors(*models)
    assert rankings[0].equals(rankings[1])


@pytest.mark.parametrize("name", [name for name in MODELS if not c.ranks(name)])
def test_no_judge_of_pairs_learns_of_the_canary(name: str) -> None:
    rule, *both = _pairs()
    models, scores = [], []
    for world in both:
        splits = rule.split(world.lazy()).collect()
        task = rule.task(splits, "validation", CANARY)
        model = c.build(name, epochs=4)
        model.fit(rule.events(splits, USERS, CANARY), task, c.runtime())
        models.append(model)
        scores.append(model.score_pairs(task.queries, task.target))
    c.assert_same_tensors(*models)
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", filter(c.ranks, MODELS))
def test_without_selection_held_out_validation_events_are_not_heard_either(name: str) -> None:
    rule, world = protocol("leave_one_out"), _world()
    held_out = rule.split(world.lazy()).filter(pl.col("split") != "train").collect()["row"]
    models = []
    for each in (world, _sung(world, held_out)):
        splits = rule.split(each.lazy()).collect()
        model = c.build(name, epochs=2)
        model.fit(rule.events(splits, USERS, CANARY), None, c.runtime())
        models.append(model)
    c.assert_same_tensors(*models)
