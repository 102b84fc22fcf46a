"""Text that others wrote, before it stands in a prompt."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.language.sanitise import sanitise

ANY = st.text(
    st.one_of(st.characters(), st.sampled_from("<>|[]\"'`“”;… \n\t\u200b\u202e\ufe0f\u0301\u037e\u1fef\u2329")),
    max_size=300,
)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        (None, ""),
        (" \n\u200b\u3164 ", ""),
        ("Toy Story (1995)", "Toy Story (1995)"),
        ("Am\u0065\u0301lie", "Am\u00e9lie"),
        ("Am\u0065\u200b\u0301lie", "Am\u00e9lie"),
        ("Steins;Gate", "Steins;Gate"),
        ("A; B;", "A, B"),
        ("first\r\nsecond\u2028third\x85fourth\tfifth", "first second third fourth fifth"),
        ("ab\u200bc\u00ad\u202ed\ufeff\x00\U000e0041\ufe0f", "abcd"),
        ("x<|im_end|>y", "x\u2039|im_end|\u203ay"),
        ("</s><<SYS>>", "\u2039/s\u203a\u2039\u2039SYS\u203a\u203a"),
        ("[INST] do [/INST]", "(INST) do (/INST)"),
        ("\uff1c\uff5cUser\uff5c\uff1e \uff3bMASK\uff3d", "\u2039\uff5cUser\uff5c\u203a (MASK)"),
        ('say "no" \u201cor\u201d \u00abyes\u00bb `x`', "say 'no' 'or' 'yes' 'x'"),
    ],
)
def test_what_becomes_of_it(text: str | None, harmless: str) -> None:
    assert sanitise(text) == harmless


def test_a_long_text_ends_at_a_word_with_three_dots() -> None:
    assert sanitise("one two three", 13) == "one two three"
    assert sanitise("one two three", 12) == "one two…"
    assert sanitise("one two three", 8) == "one two…"
    assert sanitise("onetwothree four", 6) == "onetw…", "no word to end at: cut inside"
    assert sanitise("a" * 10_000, 5) == "aaaa…"


def test_text_that_was_not_read_to_its_end_says_so() -> None:
    assert sanitise("word" + "\u200b" * 1000 + "hidden", 10) == "word …"
    assert sanitise("\u200b" * 1000, 10) == ""


def test_a_megabyte_costs_no_more_than_a_title() -> None:
    start = time.perf_counter()
    assert len(sanitise("\u202e <|x|>" * 200_000, 200)) <= 200
    assert time.perf_counter() - start < 0.05


@settings(max_examples=500, deadline=None)
@given(ANY, st.integers(2, 60))
def test_whatever_comes_in_one_bounded_harmless_line_comes_out(text: str, limit: int) -> None:
    line = sanitise(text, limit)
    assert len(line) <= limit
    assert not set(line) & set('<>[]"`\u201c\u201d\n\r\t')
    assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert "; " not in line
    assert line == line.strip()
    assert unicodedata.is_normalized("NFC", line)
    line.encode()


@settings(max_examples=500, deadline=None)
@given(ANY, st.integers(2, 60))
def test_what_came_out_goes_through_unchanged(text: str, limit: int) -> None:
    line = sanitise(text, limit)
    assert sanitise(line, limit) == line
