"""What every protocol keeps to, whatever the interactions are: stated again from the rows, in plain loops."""

import random

import hypothesis
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.events import interactions
from weft.data.sequences import Task
from weft.errors import RequestError
from weft.evaluation.protocols import PROTOCOLS, Protocol, protocol
from weft.schemas import SPLITS, Negatives, Splits

USERS, ITEMS = 5, 8
COLUMNS = ("user", "item", "timestamp", "rating", "session_id", "part")
MONTHS = {"train_from": 100_000, "validation_from": 300_000, "test_from": 500_000, "test_until": 600_000}
VARIANTS = [
    *((name, {}) for name in PROTOCOLS),
    ("leave_one_out_top1000", {"size": 3}),
    ("global_time", {"targets": "all", "strict_time": True}),
    ("sessions", {"by": "gap", "seconds": 40_000, "targets": "all_prefixes"}),
    ("sessions", {"by": "clock", "seconds": 90_000, "strict_time": True}),
    ("pointwise_time", {"strict_time": True}),
    ("pointwise_collm_months", MONTHS),
    ("paper_tallrec_blocks", {"by": "users"}),
    ("paper_tallrec_blocks", {"windows": 12}),
    ("paper_sessions_user_order", {"min_item_events": 1, "seconds": 90_000}),
    ("paper_candidates_20", {"min_item_events": 1, "asked": 3}),
    ("paper_candidates_20", {"min_item_events": 1, "clean_days": True}),
    ("paper_leaky", {"size": 4, "min_user_rows": 2}),
]  # fmt: skip

MOMENTS = [0, 7, 40_000, 86_399, 86_400, 100_000, 200_000, 350_000, 500_000, 599_999, 600_000]
RATINGS = [None, 0.0, 2.0, 3.5, 4.0, 5.0]


@st.composite
def tables(draw: st.DrawFn) -> list[tuple]:
    """Rows of a shop of up to 150 events with many ties; by a seed, so that most of them are long."""
    rng = random.Random(draw(st.integers(0, 10_000)))
    dated = draw(st.sampled_from([MOMENTS, MOMENTS, [*MOMENTS, None]]))
    return [
        (
            rng.randint(1, USERS),
            rng.randint(1, ITEMS),
            rng.choice(dated),
            rng.choice(RATINGS),
            rng.choice([None, "a", "b", "c"]),
            rng.choice([*SPLITS, None]),
        )
        for _ in range(draw(st.sampled_from([1, 4, 15, 60, 150])))
    ]


def _moment(row: dict) -> tuple[float, int]:
    """The order inside a user; what has no time comes first."""
    return (-1 if row["timestamp"] is None else row["timestamp"], row["row"])


def _split(rule: Protocol, data: pl.DataFrame) -> pl.DataFrame | None:
    try:
        return Splits.validate(rule.split(data.lazy()).collect(), cast=False)
    except RequestError:  # the rows have no session of two, no rating and so on
        return None


def _histories(task: Task) -> dict[int, list[int]]:
    offsets = task.queries.offsets
    return {int(q): task.queries.items[offsets[i] : offsets[i + 1]].tolist() for i, q in enumerate(task.queries.query)}


def _before(rule: Protocol, splits: pl.DataFrame, target: dict, split: str) -> list[int]:
    """The history of a target, by the words of the rules."""
    group = rule.grouped_by
    visible = SPLITS[: SPLITS.index(split) + 1]
    known = [
        each
        for each in sorted(splits.iter_rows(named=True), key=_moment)
        if each[group] == target[group] and each["split"] in visible and _moment(each) < _moment(target)
    ]
    if rule.window is not None:
        known = known[-rule.window :]
    if rule.strict_time:
        known = [each for each in known if _moment(each)[0] < _moment(target)[0]]
    return [each["item"] for each in known if rule.kind == "ranking" or each["label"]]


@pytest.mark.parametrize(("name", "rules"), VARIANTS, ids=str)
@given(rows=tables())
@settings(max_examples=25, deadline=None)
def test_every_row_plays_one_part_and_a_history_is_what_came_before(name: str, rules: dict, rows: list) -> None:
    rule, data = protocol(name, rules), interactions(rows, COLUMNS)
    splits = _split(rule, data)
    if splits is None:
        return
    assert sorted(splits["row"]) == list(range(len(rows))), "accepted counts add up, and no row is in two splits"
    assert (
        splits.sort("row")
        .select("user", "item", "timestamp", "rating")
        .equals(data.select("user", "item", "timestamp", "rating"))
    )
    of_row = {each["row"]: each for each in splits.iter_rows(named=True)}
    assert not splits.filter(pl.col("split").is_in(["train", "unused"]))["target"].any()
    for split in ("validation", "test"):
        task = rule.task(splits, split, ITEMS)
        hypothesis.event(f"{split}: {len(task) > 0}")
        wanted = splits.filter(target=True, split=split)
        assert task.queries.query.tolist() == wanted["row"].to_list()
        assert task.target.tolist() == wanted["item"].to_list()
        assert task.candidates[task.target].all()
        assert (task.label is None) == (rule.kind == "ranking")
        for query, history in _histories(task).items():
            assert history == _before(rule, splits, of_row[query], split)


@pytest.mark.parametrize(("name", "rules"), VARIANTS, ids=str)
@given(rows=tables())
@settings(max_examples=10, deadline=None)
def test_training_events_are_the_training_rows_in_order(name: str, rules: dict, rows: list) -> None:
    rule = protocol(name, rules)
    splits = _split(rule, interactions(rows, COLUMNS))
    if splits is None:
        return
    train = splits.filter(split="train")
    events = rule.events(splits, USERS, ITEMS)
    assert events.item.tolist() == train["item"].to_list()
    assert events.user.tolist() == train[rule.grouped_by].to_list()
    assert sorted(events.user) == events.user.tolist()
    assert events.n_users >= events.user.max(initial=0)
    if rule.kind == "pointwise":
        assert events.label is not None
        assert events.label.tolist() == train["label"].to_list()


@pytest.mark.parametrize(("name", "rules"), VARIANTS, ids=str)
@given(rows=tables(), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_table_changes_nothing(name: str, rules: dict, rows: list, seed: int) -> None:
    rule, data = protocol(name, rules), interactions(rows, COLUMNS)
    straight, shuffled = _split(rule, data), _split(rule, data.sample(fraction=1, shuffle=True, seed=seed))
    assert (straight is None) == (shuffled is None)
    if straight is not None and shuffled is not None:
        assert straight.equals(shuffled)


SAMPLED = [(name, rules) for name, rules in VARIANTS if PROTOCOLS[name].samples]


@pytest.mark.parametrize(("name", "rules"), SAMPLED, ids=str)
@given(rows=tables())
@settings(max_examples=20, deadline=None)
def test_what_is_drawn_is_distinct_of_the_targets_domain_and_new_to_the_user(
    name: str, rules: dict, rows: list
) -> None:
    rule = protocol(name, rules)
    splits = _split(rule, interactions(rows, COLUMNS))
    if splits is None:
        return
    items = pl.DataFrame({"item": range(1, ITEMS + 1), "domain": ["a", "b"] * (ITEMS // 2)})
    drawn = Negatives.validate(rule.negatives(splits, items), cast=False)
    assert drawn.equals(rule.negatives(splits, items)), "drawn once and for all"
    for split in ("validation", "test"):
        task = rule.task(splits, split, ITEMS, drawn)
        assert task.among is not None
        for place, (query, history) in enumerate(_histories(task).items()):
            among = [item for item in task.among[place].tolist() if item]
            target = int(task.target[place])
            possible = {item for item in np.flatnonzero(task.candidates).tolist() if item % 2 == target % 2}
            assert set(among) == possible - set(history) - {target}, "there are fewer than the protocol asks for"
            assert len(among) == len(set(among))
            assert drawn.filter(query=query)["items"].item().to_list() == among
