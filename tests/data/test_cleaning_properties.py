"""What must hold of cleaning for every table that there is, against a few lines of plain Python."""

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.data.test_cleaning import shelf
from weft.data.cleaning import Cleaned, clean
from weft.data.rules import LATEST, CleaningRules
from weft.errors import SourceError
from weft.schemas import Interactions, Items, RawInteractions, Rejected, Users

COLUMNS = RawInteractions.create_empty().schema
LENIENT = CleaningRules(rating_min=1, rating_max=5, max_rejected_share=1.0)
CORE = LENIENT.model_copy(update={"min_user_events": 2, "min_item_events": 2})

names = st.one_of(
    st.sampled_from(["a", "b", "c"]), st.sampled_from([None, "", "None", "nan", "1e5"]), st.text(max_size=3)
)
times = st.one_of(st.integers(0, 5), st.sampled_from([None, -1, LATEST, LATEST + 1, -(2**63), 2**63 - 1, 2**32]))
ratings = st.one_of(st.sampled_from([1.0, 4.5, None]), st.floats())
optional = st.sampled_from([None, "p", "q"])
event = st.tuples(names, names, times, ratings, optional, optional, optional)
good = st.tuples(
    st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(0, 9), st.sampled_from([1.0, 4.5, None]),
    optional, st.none(), st.none(),
)  # fmt: skip
sixty = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def raw(events: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame([(row, *event) for row, event in enumerate(events)], schema=COLUMNS, orient="row")


def cleaned(events: list[tuple], rules: CleaningRules = LENIENT, items: tuple = ("x", "never")) -> Cleaned:
    return clean(raw(events).lazy(), shelf(*items), rules)


def texts(table: Cleaned, *columns: str) -> list[tuple]:
    """Accepted events in their order, with the source's ids."""
    events = table.interactions.join(table.users, on="user", maintain_order="left")
    events = events.join(table.items.select("item", "item_id"), on="item", maintain_order="left")
    return events.select(columns or ("user_id", "item_id", "timestamp", "rating", "session_id", "part")).rows()


def broken(event: tuple, *, timed: bool) -> str | None:
    """The first rule that an event breaks, by hand."""
    user, item, time, rating, *_ = event
    odd = any(ord(sign) < 32 or ord(sign) == 127 for sign in (user or "") + (item or ""))
    for name, holds in (
        ("missing_user", not user),
        ("missing_item", not item),
        ("missing_timestamp", timed and time is None),
        ("bad_timestamp", time is not None and not 0 <= time <= LATEST),
        ("bad_rating", rating is not None and not np.isfinite(np.float32(rating))),
        ("rating_out_of_range", rating is not None and not 1 <= rating <= 5),
        ("unprintable_id", odd),
    ):
        if holds:
            return name
    return None


@sixty
@given(st.lists(event, max_size=25))
def test_every_row_ends_in_one_place_for_the_reason_that_one_finds_by_hand(events) -> None:
    timed = any(time is not None for _, _, time, *_ in events)
    expected, met = {}, set()
    for row, one in enumerate(events):
        rule = broken(one, timed=timed)
        if rule is None:
            rule = "duplicate" if timed and one in met else None  # without times a row's place is its time
            met.add(one)
        expected[row] = rule
    try:
        table = cleaned(events)
    except SourceError:
        assert not any(rule is None for rule in expected.values())
        return
    found = dict.fromkeys(table.interactions["row"].to_list())
    found |= dict(table.rejected.filter(source="interactions").select("row", "rule").rows())
    assert len(table.interactions) + len(table.rejected) == len(events)
    assert found == expected
    for schema, part in zip(
        (Interactions, Users, Items, Rejected),
        (table.interactions, table.users, table.items, table.rejected), strict=True,
    ):  # fmt: skip
        schema.validate(part)


@sixty
@given(st.lists(good, min_size=1, max_size=25))
def test_numbers_have_no_gaps_and_follow_the_first_appearance_in_time(events) -> None:
    table = cleaned(events)
    in_time = sorted(range(len(events)), key=lambda row: (events[row][2], row))
    users = dict.fromkeys(events[row][0] for row in in_time)
    items = dict.fromkeys(["x", "never", *(events[row][1] for row in in_time)])
    assert table.users.rows() == [(number, user) for number, user in enumerate(users, 1)]
    assert table.items.select("item", "item_id").rows() == [(number, item) for number, item in enumerate(items, 1)]
    assert table.interactions.equals(table.interactions.sort("user", "timestamp", "row"))


@sixty
@given(st.lists(st.one_of(good, good, event), min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_the_order_in_which_numbered_rows_arrive_changes_nothing(events, random) -> None:
    assume(any(broken(one, timed=True) is None for one in events))
    table = raw(events)
    order = list(range(len(events)))
    random.shuffle(order)
    one, other = (clean(each.lazy(), shelf("x"), LENIENT) for each in (table, table[order]))
    for name in ("interactions", "users", "items", "rejected"):
        assert getattr(one, name).equals(getattr(other, name))


@sixty
@given(st.lists(good, min_size=1, max_size=20), st.randoms())
def test_another_order_of_lines_changes_nothing_but_the_order_inside_a_second(events, random) -> None:
    shuffled = events.copy()
    random.shuffle(shuffled)
    one, other = cleaned(events), cleaned(shuffled)
    assert Counter(texts(one)) == Counter(texts(other))
    of_user = [sorted((user, time) for user, time in texts(each, "user_id", "timestamp")) for each in (one, other)]
    assert of_user[0] == of_user[1]
    if len({time for _, _, time, *_ in events}) == len(events):  # no ties: no choice is left to the row
        assert texts(one) == texts(other)
        assert one.users.equals(other.users)
        assert one.items.equals(other.items)


@sixty
@given(st.lists(good, min_size=1, max_size=15), st.data())
def test_a_repeat_purchase_is_another_event_and_an_exact_repetition_is_none(events, data) -> None:
    chosen = data.draw(st.sampled_from(events))
    before = cleaned(events)
    later = (*chosen[:2], 10, *chosen[3:])
    bought = cleaned([*events, later])
    assert len(bought.interactions) == len(before.interactions) + 1
    assert bought.rejected.equals(before.rejected)
    said = cleaned([*events, chosen])
    assert said.interactions.equals(before.interactions)
    assert said.rejected.filter(pl.col("row") == len(events))["rule"].to_list() == ["duplicate"]


@sixty
@given(st.lists(good, min_size=1, max_size=40))
def test_who_is_left_after_rare_users_and_items_are_those_that_one_by_one_removal_leaves(events) -> None:
    left = list(dict.fromkeys(events))
    while True:
        users, items = Counter(one[0] for one in left), Counter(one[1] for one in left)
        fewer = [one for one in left if users[one[0]] >= 2 and items[one[1]] >= 2]
        if len(fewer) == len(left):
            break
        left = fewer
    try:
        table = cleaned(events, CORE)
    except SourceError as error:
        assert "as many events" in error.culprit  # noqa: PT017
        assert not left
        return
    assert Counter(texts(table, "user_id", "item_id", "timestamp")) == Counter(one[:3] for one in left)
    assert set(table.items["item_id"]) == {one[1] for one in left}  # the item that nobody touched has gone as well
    assert len(table.interactions) + len(table.rejected.filter(source="interactions")) == len(events)
