"""The world of works: one world, its first works the same for all, and hidden values that stay hidden."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from weft.data.world.works import _NAMES, ATTRIBUTES, BLOCK, GENRES, MOODS, OCCASIONS, STYLES, THEMES, Works, works


@pytest.fixture(scope="module")
def world() -> Works:
    return works(600)


def test_the_first_works_are_the_same_in_a_larger_world(world: Works) -> None:
    small = works(130)
    for side in ("names", "titles", "descriptions", "years"):
        assert getattr(small, side) == getattr(world, side)[:130], side
    for name, values in small.values.items():
        assert (values == world.values[name][:130]).all(), name


def test_another_seed_is_another_world(world: Works) -> None:
    other = works(600, seed=1)
    assert len(set(world.titles) & set(other.titles)) < 30
    for name, values in other.values.items():
        assert (values != world.values[name]).any(), name


def test_in_each_block_every_value_is_equally_frequent(world: Works) -> None:
    for start in range(0, 600, BLOCK):
        for name, size in {**ATTRIBUTES, "domain": 2}.items():
            counts = np.bincount(world.values[name][start : start + BLOCK], minlength=size)
            assert counts.tolist() == [BLOCK // size] * size, name
    occasions = np.bincount(world.values["occasion"][: 2 * BLOCK], minlength=OCCASIONS)
    assert occasions.tolist() == [2 * BLOCK // OCCASIONS] * OCCASIONS


def test_attributes_tell_nothing_of_each_other(world: Works) -> None:
    keys = list(world.values)
    for k, first in enumerate(keys):
        for second in keys[k + 1 :]:
            a, b = world.values[first], world.values[second]
            table = np.zeros((a.max() + 1, b.max() + 1))
            np.add.at(table, (a, b), 1)
            expected = np.outer(table.sum(1), table.sum(0)) / 600
            freedom = a.max() * b.max()
            surplus = ((table - expected) ** 2 / expected).sum() - freedom
            assert surplus < 5 * np.sqrt(2 * freedom), (first, second)


def test_each_work_has_a_name_of_its_own_that_stands_in_its_title(world: Works) -> None:
    assert len(set(world.names)) == len(set(world.titles)) == 600
    for name, title, text in zip(world.names, world.titles, world.descriptions, strict=True):
        assert name in re.findall(r"\w+", title)
        assert text.startswith(f"{name} is a ")


def test_no_name_is_another_with_one_letter_changed() -> None:
    assert len(set(_NAMES)) == len(_NAMES) > 20_000
    for place in range(6):
        rest = Counter(name[:place] + name[place + 1 :] for name in _NAMES)
        assert max(rest.values()) == 1, place


def test_texts_name_the_theme_and_never_mood_style_or_genre(world: Works) -> None:
    hidden = {word.lower() for word in (*MOODS, *STYLES, *(style.rstrip("s") for style in STYLES), *GENRES)}
    themes = list(THEMES)
    told = 0
    for title, text, theme in zip(world.titles, world.descriptions, world.values["theme"], strict=True):
        subject, detail = THEMES[themes[theme]]
        assert f"about {subject}, with {detail}" in text
        assert not hidden & set(re.findall(r"\w+", f"{title} {text}".lower()))
        words = set(re.findall(r"\w+", title))
        assert words & set(themes) <= {themes[theme]}
        told += themes[theme] in words
    assert 0.4 < told / 600 < 0.6


def test_letters_of_titles_tell_nothing_of_the_mood(world: Works) -> None:
    grams = sorted({title[k : k + 2] for title in world.titles for k in range(len(title) - 1)})
    number = {gram: k for k, gram in enumerate(grams)}
    table = np.zeros((600, len(grams)))
    for row, title in enumerate(world.titles):
        np.add.at(table[row], [number[title[k : k + 2]] for k in range(len(title) - 1)], 1)
    mood = np.eye(len(MOODS))[world.values["mood"]]
    even, odd = slice(0, None, 2), slice(1, None, 2)
    weights = np.linalg.solve(table[even].T @ table[even] + 10 * np.eye(len(grams)), table[even].T @ mood[even])
    right = ((table[odd] @ weights).argmax(1) == world.values["mood"][odd]).mean()
    assert right < 0.1 + 4 * np.sqrt(0.09 / 300)


def test_with_one_domain_the_same_works_are_all_books(world: Works) -> None:
    books = works(600, domains=1)
    assert books.titles == world.titles
    assert not books.values["domain"].any()
    for name in ATTRIBUTES:
        assert (books.values[name] == world.values[name]).all()
    assert all(" is a book about " in text and text.endswith("pages.") for text in books.descriptions)
    assert sum(" is a film about " in text and text.endswith("minutes.") for text in world.descriptions) == 300


def test_a_world_has_an_end() -> None:
    assert len(set(works(5_000).names)) == 5_000
    for n in (0, len(_NAMES) + 1):
        with pytest.raises(ValueError, match="works, not"):
            works(n)
