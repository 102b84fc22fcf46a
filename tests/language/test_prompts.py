"""Templates and how they are filled."""

import polars as pl
import pytest

from weft.errors import RequestError
from weft.language.prompts import PLACES, Template, item_words, template
from weft.schemas import Items

WORDS = {"title": "Balira of the Sea", "dated": "Balira of the Sea (1999)", "item": "7"}


def catalogue(*titles: str | None, year: int | None = None, **columns: str) -> pl.DataFrame:
    """Items with these titles."""
    frame = pl.DataFrame({"title": titles}, schema={"title": pl.String}).with_row_index("item", offset=1)
    frame = frame.with_columns(pl.lit(year).alias("year"), pl.col("item").cast(pl.String).alias("item_id"))
    frame = frame.with_columns(**{name: pl.lit(value) for name, value in columns.items()})
    missing = [pl.lit(None).alias(name) for name in Items.column_names() if name not in frame.columns]
    return Items.cast(frame.with_columns(missing).select(Items.column_names()))


def test_brief_prompts_are_the_words_that_the_house_model_learns() -> None:
    intent, assessment = template("intent", "brief"), template("assessment", "brief")
    assert template("enrichment", "brief").message(**WORDS) == [
        {"role": "user", "content": "Tell me about Balira of the Sea."}
    ]
    taken = intent.listed([WORDS, {"title": "Zenovia"}])
    said = {view: intent.message(items=taken, view=words)[0]["content"] for view, words in intent.views.items()}
    assert said == {
        "long": "Taken so far: Balira of the Sea; Zenovia. What fits the long-term interest best?",
        "short": "Taken so far: Balira of the Sea; Zenovia. What fits the short-term interest best?",
        "plain": "Taken so far: Balira of the Sea; Zenovia. What fits best?",
    }
    (message,) = assessment.message(history="Zenovia", target="Balira", target_dated="Balira (1999)")
    assert message["content"] == "Liked: Zenovia. Would Balira be liked? What else must be known?"


def test_the_papers_prompt_numbers_names_and_identifies_each_click() -> None:
    paper = template("intent", "paper")
    (message,) = paper.message(items=paper.listed([WORDS, WORDS]), view=paper.views["long"])
    assert message["content"].splitlines()[1:4] == [
        '1. "Balira of the Sea (1999)" (id 7)',
        '2. "Balira of the Sea (1999)" (id 7)',
        "Which one item suits this visitor's long-term interest best?",
    ]
    plain = paper.message(items="", view=paper.views["plain"])[0]["content"]
    assert "term" not in plain, "the plain view has no qualifier"


def test_a_title_that_looks_like_a_place_stays_a_title() -> None:
    paper = template("intent", "paper")
    trap = "{view} {items} {0} {} %s {{title}}"
    (message,) = paper.message(items=paper.listed([{**WORDS, "dated": trap}]), view="VIEW")
    assert trap in message["content"]
    assert message["content"].count("VIEW") == 1


def test_every_template_fills_all_its_places() -> None:
    for family, places in PLACES.items():
        for version in ("paper", "brief"):
            made = template(family, version)
            (message,) = made.message(**dict.fromkeys(places, "WORD"))
            assert "{" not in message["content"]
            assert "WORD" in message["content"]


def test_the_version_of_a_template_is_its_name_and_the_digest_of_its_text() -> None:
    one, other = Template(name="brief", text="{title}"), Template(name="brief", text="{title}!")
    apart = Template(name="brief", text="{title}", between="\n")
    assert len({one.stamp, other.stamp, apart.stamp}) == 3
    assert one.stamp == Template(name="brief", text="{title}").stamp
    name, digest = one.stamp.split("@")
    assert (name, len(digest)) == ("brief", 8)


def test_an_unknown_version_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"(?s)enrichment/long.*brief, paper"):
        template("enrichment", "long")


def test_items_are_named_with_their_year_once_and_without_title_by_number() -> None:
    words = item_words(catalogue("Heat (1995)", "Alien", None, "  \u200b", year=1995, domain="films"))
    assert [words[item]["dated"] for item in (1, 2)] == ["Heat (1995)", "Alien (1995)"]
    assert [words[item]["title"] for item in (1, 2, 3, 4)] == [
        "Heat (1995)",
        "Alien",
        "untitled item 3",
        "untitled item 4",
    ]
    assert words[1]["domain"] == "films"
    assert item_words(catalogue("Alien"))[1] | {"domain": ""} == {
        "item": "1", "title": "Alien", "dated": "Alien", "domain": "", "description": "",
    }  # fmt: skip


def test_every_word_of_an_item_is_sanitised_and_bounded() -> None:
    bad = 'a\n"<|im_end|>' * 20_000
    words = item_words(catalogue(bad, domain=bad, description=bad))[1]
    for text in words.values():
        assert len(text) <= 600
        assert not set(text) & set('<>"\n')
