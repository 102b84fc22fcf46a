"""What a session is after: which clicks a prompt shows, and how answers are read."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.events import interactions
from tests.language.test_prompts import catalogue
from tests.language.writers import FakeWriter
from weft.errors import RequestError
from weft.evaluation.protocols import protocol
from weft.language import answers, intents
from weft.language.cache import Cache
from weft.language.engine import Sampling
from weft.language.generation import generate
from weft.language.grounding import ground
from weft.schemas import IntentInferences, IntentPrompts

COLUMNS = ("user", "item", "timestamp", "session_id")
RULE = protocol("sessions")
ITEMS = catalogue(*(f"Title{item:03d}" for item in range(1, 31)))


def visits(*clicks: list[int], step: int = 1) -> pl.DataFrame:
    """Splits of ten or more sessions of these items, one after the other."""
    rows = [(1, item, 100 * s + step * i, f"s{s}") for s, items in enumerate(clicks) for i, item in enumerate(items)]
    return RULE.split(interactions(rows, COLUMNS).lazy()).collect()


def content(prompts: pl.DataFrame) -> dict[tuple[int, str], str]:
    rows = prompts.select("session", "view", pl.col("messages").list.first().struct.field("content")).rows()
    return {(session, view): text for session, view, text in rows}


TEN = [[1, 2], [2, 3, 1], [1, 3], [3, 1], [2, 1], [1, 2], [2, 3], [3, 2], [1, 3, 2], [2, 2, 3, 1]]


def test_one_prompt_per_session_and_view_shows_the_clicks_before_the_last() -> None:
    prompts = intents.prompts(RULE, visits(*TEN), ITEMS, "brief")
    IntentPrompts.validate(prompts)
    told = content(prompts)
    assert len(told) == 30
    assert told[2, "long"] == "Taken so far: Title002; Title003. What fits the long-term interest best?"
    assert told[9, "short"] == "Taken so far: Title001; Title003. What fits the short-term interest best?"
    assert told[10, "plain"] == "Taken so far: Title002; Title002; Title003. What fits best?"


def test_only_the_newest_clicks_are_shown_and_only_the_views_asked_for() -> None:
    prompts = intents.prompts(RULE, visits(*TEN), ITEMS, "brief", views=["plain"], last=2)
    told = content(prompts)
    assert len(told) == 10
    assert told[10, "plain"] == "Taken so far: Title002; Title003. What fits best?"


def test_a_held_out_session_that_is_not_asked_has_no_prompt() -> None:
    splits = visits(*TEN[:9], [2, 1, 30])  # nobody was trained on item 30
    assert sorted(intents.shown(RULE, splits)["session"]) == list(range(1, 10))


def test_where_every_click_is_asked_only_what_comes_before_the_first_is_shown() -> None:
    rule = protocol("sessions", {"targets": "all_prefixes"})
    rows = [(1, item, 100 * s + i, f"s{s}") for s, items in enumerate(TEN) for i, item in enumerate(items)]
    splits = rule.split(interactions(rows, COLUMNS).lazy()).collect()
    shown = {session: (items, target) for session, items, target in intents.shown(rule, splits).iter_rows()}
    assert shown[10] == ([2], 2)
    assert shown[2] == ([2, 3], 1), "of a training session, what comes before the last"


def test_clicks_of_the_targets_second_are_not_shown_where_time_is_strict() -> None:
    rule = protocol("sessions", {"strict_time": True})
    rows = [(1, item, 100 * s + min(i, 2), f"s{s}") for s, items in enumerate(TEN) for i, item in enumerate(items)]
    splits = rule.split(interactions(rows, COLUMNS).lazy()).collect()
    shown = dict(intents.shown(rule, splits).select("session", "items").rows())
    assert shown[10] == [2, 2], "the third click has the second of the fourth"
    loose = dict(intents.shown(RULE, splits).select("session", "items").rows())
    assert loose[10] == [2, 2, 3]


def test_what_is_shown_is_the_history_of_the_query() -> None:
    splits = visits(*TEN * 3)
    shown = {session: items for session, items, _ in intents.shown(RULE, splits).iter_rows()}
    task = RULE.task(splits, "test", 30)
    session_of = dict(splits.select("row", "session").rows())
    assert len(task) == 3
    for i, query in enumerate(task.queries.query.tolist()):
        history = task.queries.items[task.queries.offsets[i] : task.queries.offsets[i + 1]]
        assert shown[session_of[query]] == history.tolist()


def test_a_protocol_without_sessions_is_refused() -> None:
    splits = protocol("leave_one_out").split(interactions([(1, 1, 1), (1, 2, 2), (1, 3, 3)]).lazy()).collect()
    with pytest.raises(RequestError, match="no sessions"):
        intents.prompts(protocol("leave_one_out"), splits, ITEMS, "brief")


def test_an_unknown_view_is_refused() -> None:
    with pytest.raises(RequestError, match="'middle'"):
        intents.prompts(RULE, visits(*TEN), ITEMS, "brief", views=["middle"])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 30), min_size=2, max_size=8), min_size=10, max_size=16),
    st.sampled_from(["brief", "paper"]),
    st.sampled_from([0, 1]),
)
def test_a_targets_name_is_absent_unless_it_is_among_the_clicks_before(
    sessions: list[list[int]], version: str, step: int
) -> None:
    told = content(intents.prompts(RULE, visits(*sessions, step=step), ITEMS, version))
    assert {session for session, _ in told} >= set(range(1, int(0.8 * len(sessions)) + 1))
    for (session, _), text in told.items():
        *before, target = sessions[session - 1]
        assert (f"Title{target:03d}" in text) == (target in before)
        assert all(f"Title{item:03d}" in text for item in before)


APART = [[1, 2], [2, 1], [3, 1], [4, 1], [5, 1], [6, 1], [7, 1], [8, 1], [9, 1], [10, 1]]


def inferred(folder: Path, said: list[str | None]) -> pl.DataFrame:
    """What is read of these answers to the plain view of the first sessions."""
    prompts = intents.prompts(RULE, visits(*APART), ITEMS, "paper", views=["plain"]).head(len(said))
    answer = dict(zip(content(prompts).values(), said, strict=True))
    writer = FakeWriter(lambda asked, _: answer[asked])
    generations, _ = generate(prompts, writer, Sampling(), Cache(folder), parse=answers.name, attempts=1)
    return intents.parse(generations, lambda names: ground(names, ITEMS))


def test_an_answer_is_read_by_its_first_line_and_grounded(tmp_path: Path) -> None:
    read = inferred(tmp_path, ['1. "title001"\nas it is nearest', "No such thing", "…", None])
    IntentInferences.validate(read)
    assert read.select("text", "item", "rule", "status").rows() == [
        ("title001", 1, "exact", "answered"),
        ("No such thing", None, "none", "answered"),
        (None, None, "none", "malformed"),
        (None, None, "none", "failed"),
    ]


def test_no_readable_answer_asks_no_grounding(tmp_path: Path) -> None:
    assert inferred(tmp_path, ["…"])["rule"].to_list() == ["none"]


def test_each_name_is_grounded_once(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def noting(names: list[str]) -> pl.DataFrame:
        asked.append(names)
        return ground(names, ITEMS)

    prompts = intents.prompts(RULE, visits(*TEN), ITEMS, "brief", views=["long", "plain"])
    writer = FakeWriter(lambda content, _: "Title002" if "long" in content else "Title003")
    generations, _ = generate(prompts, writer, Sampling(), Cache(tmp_path), parse=answers.name)
    read = intents.parse(generations, noting)
    assert [sorted(names) for names in asked] == [["Title002", "Title003"]]
    assert read["item"].to_list() == [2, 3] * 10


def test_the_summary_says_how_often_an_answer_is_the_target(tmp_path: Path) -> None:
    read = inferred(tmp_path, ["Title002", "Title002", "nowhere to be found", "…"])  # the targets are 2, 1, 1, 1
    shares = intents.summary(read, intents.shown(RULE, visits(*APART)))
    assert shares == {"answered": 0.75, "grounded": 0.5, "invented": 0.25, "target": 0.25}
    assert set(intents.summary(read.clear(), intents.shown(RULE, visits(*APART))).values()) == {0.0}


def test_of_many_sessions_a_bounded_number_is_asked_about_from_the_first_to_the_last() -> None:
    every = intents.prompts(RULE, visits(*TEN), ITEMS, "brief", views=["plain"])["session"].to_list()
    some = intents.prompts(RULE, visits(*TEN), ITEMS, "brief", views=["plain"], most=4)["session"].to_list()
    assert len(every) > 4 >= len(some)
    assert some == every[:: -(-len(every) // 4)]
