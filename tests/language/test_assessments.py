"""What else must be known of a pair: which likes a prompt shows."""

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
from weft.language import answers, assessments
from weft.language.cache import Cache
from weft.language.engine import Sampling
from weft.language.generation import generate
from weft.schemas import AssessmentPrompts, SelfAssessments

COLUMNS = ("user", "item", "timestamp", "rating")
RULE = protocol("pointwise_time")
ITEMS = catalogue(*(f"Title{item:03d}" for item in range(1, 21)))


def splits_of(rows: list[tuple]) -> pl.DataFrame:
    return RULE.split(interactions(rows, COLUMNS).lazy()).collect()


def told(prompts: pl.DataFrame) -> dict[int, str]:
    return dict(prompts.select("row", pl.col("messages").list.first().struct.field("content")).rows())


LATER = [(9, 20, 900 + i, 5.0) for i in range(8)]  # validation and test
SHOP = [
    (1, 1, 10, 5.0), (1, 2, 20, 1.0), (1, 3, 30, 5.0), (1, 4, 40, 2.0), (1, 5, 40, 5.0), (1, 6, 40, 5.0),
    (1, 7, 50, 4.0), (2, 8, 60, 2.0), (2, 9, 70, 5.0), (2, 10, 80, 5.0), *LATER,
]  # fmt: skip


def test_a_training_row_is_asked_about_with_what_was_liked_before_its_second() -> None:
    prompts = assessments.prompts(RULE, splits_of(SHOP), ITEMS, "brief", n=100)
    AssessmentPrompts.validate(prompts)
    asked = "Liked: {}. Would {} be liked? What else must be known?"
    one_three = "Title001; Title003"
    expected = {
        1: asked.format("Title001", "Title002"),
        2: asked.format("Title001", "Title003"),
        3: asked.format(one_three, "Title004"),
        4: asked.format(one_three, "Title005"),
        5: asked.format(one_three, "Title006"),  # item 5 was liked in the same second
        6: asked.format(f"{one_three}; Title005; Title006", "Title007"),
        9: asked.format("Title009", "Title010"),
    }
    assert {row: text for row, text in told(prompts).items() if row < 10} == expected
    assert prompts.filter(row=4).select("user", "item").row(0) == (1, 5)


def test_nothing_but_training_rows_is_asked_about() -> None:
    splits = splits_of(SHOP)
    rows = assessments.prompts(RULE, splits, ITEMS, "brief", n=100)["row"]
    assert set(rows) <= set(splits.filter(split="train")["row"])
    assert set(splits["split"]) >= {"train", "validation", "test"}


def test_only_the_newest_likes_are_shown() -> None:
    prompts = assessments.prompts(RULE, splits_of(SHOP), ITEMS, "brief", n=100, last=2)
    assert told(prompts)[6].startswith("Liked: Title005; Title006. ")


def test_the_papers_prompt_names_likes_and_target_in_quotes() -> None:
    prompts = assessments.prompts(RULE, splits_of(SHOP), ITEMS.with_columns(year=pl.lit(1999)), "paper", n=100)
    first, second, _ = told(prompts)[3].splitlines()
    assert first.endswith('"Title001 (1999)"; "Title003 (1999)".')
    assert '"Title004 (1999)"' in second


def test_a_sample_is_drawn_by_its_seed() -> None:
    splits = splits_of(SHOP)
    drawn = [assessments.prompts(RULE, splits, ITEMS, "brief", n=3, seed=seed)["row"].to_list() for seed in range(8)]
    assert {len(set(rows)) for rows in drawn} == {3}
    assert all(rows == sorted(rows) for rows in drawn)
    assert len({tuple(rows) for rows in drawn}) > 3
    assert drawn[5] == assessments.prompts(RULE, splits, ITEMS, "brief", n=3, seed=5)["row"].to_list()


def test_where_nobody_liked_anything_nothing_is_asked() -> None:
    splits = splits_of([(1, item, 10 * item, 1.0) for item in range(1, 11)])
    AssessmentPrompts.validate(assessments.prompts(RULE, splits, ITEMS, "brief", n=5))


def test_a_protocol_without_labels_is_refused() -> None:
    splits = protocol("leave_one_out").split(interactions([(1, 1, 1), (1, 2, 2), (1, 3, 3)]).lazy()).collect()
    with pytest.raises(RequestError, match="no labelled pairs"):
        assessments.prompts(protocol("leave_one_out"), splits, ITEMS, "brief", n=5)


EVENT = st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(0, 12), st.sampled_from([1.0, 5.0]))


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENT, min_size=12, max_size=60))
def test_histories_are_those_of_a_plain_loop(events: list[tuple[int, int, int, float]]) -> None:
    splits = splits_of(events)
    if splits.filter(split="train").is_empty():
        return
    asked = told(assessments.prompts(RULE, splits, ITEMS, "brief", n=1000, last=1000))
    train = [(row, *events[row]) for row in splits.filter(split="train")["row"]]
    expected = {}
    for row, user, item, time, _ in train:
        liked = [(at, r, what) for r, who, what, at, rating in train if who == user and at < time and rating > 3]
        if liked:
            listed = "; ".join(f"Title{what:03d}" for _, _, what in sorted(liked))
            expected[row] = f"Liked: {listed}. Would Title{item:03d} be liked? What else must be known?"
    assert asked == expected


def test_answers_are_read_whole(tmp_path: Path) -> None:
    prompts = assessments.prompts(RULE, splits_of(SHOP), ITEMS, "brief", n=2)
    writer = FakeWriter(lambda *_: "<think>x</think>Whether they\nlike calm works.")
    generations, _ = generate(prompts, writer, Sampling(), Cache(tmp_path), parse=answers.prose)
    read = assessments.parse(generations)
    SelfAssessments.validate(read)
    assert read["text"].to_list() == ["Whether they like calm works."] * 2
    assert read["row"].to_list() == prompts["row"].to_list()
