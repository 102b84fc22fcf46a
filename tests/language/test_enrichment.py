"""What each item is: prompts and answers read."""

from pathlib import Path

import polars as pl

from tests.language.test_prompts import catalogue
from tests.language.writers import FakeWriter
from weft.language import answers, enrichment
from weft.language.cache import Cache
from weft.language.engine import Sampling
from weft.language.generation import generate
from weft.language.prompts import template
from weft.schemas import EnrichmentPrompts, ItemEnrichments


def test_every_titled_item_is_asked_about_once() -> None:
    asked = enrichment.prompts(catalogue("Heat", None, " \u200b", "Alien", year=1999), "brief")
    EnrichmentPrompts.validate(asked)
    assert asked["item"].to_list() == [1, 4]
    assert asked["messages"].to_list() == [
        [{"role": "user", "content": "Tell me about Heat."}],
        [{"role": "user", "content": "Tell me about Alien."}],
    ]
    assert asked["prompt_version"].unique().to_list() == [template("enrichment", "brief").stamp]


def test_the_papers_prompt_says_department_title_and_year() -> None:
    content = enrichment.prompts(catalogue("Heat", year=1995, domain="films"), "paper")["messages"][0][0]["content"]
    assert content.splitlines()[1:3] == ['Department: "films"', 'Title: "Heat (1995)"']


def test_no_item_gives_no_prompt() -> None:
    EnrichmentPrompts.validate(enrichment.prompts(catalogue(), "brief"))


def test_an_answer_is_read_and_what_cannot_be_read_gives_no_text(tmp_path: Path) -> None:
    said = {"A": "<think>hm</think> A is\ncalm.", "B": "!!", "C": None}
    writer = FakeWriter(lambda content, _: said[content[-2]])
    generations, _ = generate(
        enrichment.prompts(catalogue("A", "B", "C"), "brief"),
        writer, Sampling(), Cache(tmp_path), parse=answers.prose,
    )  # fmt: skip
    read = enrichment.parse(generations)
    ItemEnrichments.validate(read)
    assert read.select("item", "raw", "text", "status").rows() == [
        (1, "<think>hm</think> A is\ncalm.", "A is calm.", "answered"),
        (2, "!!", None, "malformed"),
        (3, "", None, "failed"),
    ]


def test_a_readable_raw_answer_that_was_marked_malformed_gives_no_text(tmp_path: Path) -> None:
    generations, _ = generate(
        enrichment.prompts(catalogue("A"), "brief"), FakeWriter(), Sampling(), Cache(tmp_path), parse=answers.prose
    )
    marked = generations.with_columns(status=pl.lit("malformed"))
    assert enrichment.parse(marked)["text"].to_list() == [None]
