"""From raw answers to text."""

import time

import pytest

from weft.language.answers import NAME, TEXT, name, prose


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("A calm film.\nFor sailors.", "A calm film. For sailors."),
        ("<think>hm\nwell</think>\n\nA calm film.", "A calm film."),
        ("hm, well</think>A calm film.", "A calm film."),
        ("<think>a</think>One <THINK>b</THINK>two", "two"),
        ("A film. <think>and then it was cut off", "A film."),
        ("<think>and then it was cut off", None),
        ("", None),
        (" \n\u200b…!", None),
        ("\u202eabc<|im_end|>", "abc\u2039|im_end|\u203a"),
    ],
)
def test_prose_is_the_answer_without_its_reasoning_on_one_line(raw: str, text: str | None) -> None:
    assert prose(raw) == text


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("Toy Story (1995)", "Toy Story (1995)"),
        ("\n\n  1. **Toy Story** (1995)\n2. Heat", "Toy Story** (1995)"),
        ('"Toy Story"\nbecause it is for children', "Toy Story"),
        ("- \u2018Toy Story\u2019.", "Toy Story"),
        ("(3) Heat", "Heat"),
        ("12 Monkeys", "12 Monkeys"),
        ("2001: A Space Odyssey", "2001: A Space Odyssey"),
        ("(500) Days of Summer", "(500) Days of Summer"),
        ("***\n---\nHeat", "Heat"),
        ("<think>Heat?</think>Alien", "Alien"),
        ("...\n?", None),
        ("", None),
    ],
)
def test_a_name_is_the_first_line_that_says_something(raw: str, said: str | None) -> None:
    assert name(raw) == said


def test_answers_are_bounded() -> None:
    assert len(prose("word " * 100_000) or "") == TEXT
    assert len(name("word " * 100_000) or "") <= NAME


@pytest.mark.parametrize("part", ["word ", "<think>", "<think>a</think>", "</think", "1. ", "* - # ", "\n"])
def test_no_long_answer_takes_long(part: str) -> None:
    start = time.process_time()
    prose(part * 100_000)
    name(part * 100_000)
    assert time.process_time() - start < 2
