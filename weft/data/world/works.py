"""The works that there are: what a shop can stock, and what a model of the world can learn about.

A work has hidden values and visible sides. Its style shows in its drawn cover alone, its theme in title and
description alone, and its mood in nothing that a shop prints: only who knows the work knows its mood. The world is
one, and a shop stocks the first works of it; so what is learnt about the works holds for every shop of that world.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

STYLES = ("dots", "rings", "triangles", "arcs", "hexagons", "bars", "diamonds", "crosses")
"""Words for the drawn styles of ``weft.data.drawing``. No catalogue text contains one."""

THEMES = {
    "Sea": ("the sea", "sailors"),
    "War": ("war", "soldiers"),
    "Love": ("love", "a wedding"),
    "Space": ("space", "planets"),
    "Music": ("music", "a band"),
    "Food": ("food", "a kitchen"),
    "Travel": ("travel", "a long road"),
    "Magic": ("magic", "wizards"),
    "Crime": ("crime", "a detective"),
    "Sport": ("sport", "a team"),
    "Forest": ("the forest", "trees"),
    "Robot": ("robots", "machines"),
}
"""Word for titles, and two phrases for descriptions."""

MOODS = ("calm", "dark", "funny", "gentle", "hopeful", "lonely", "proud", "sad", "strange", "tense")
"""Words for world knowledge. No catalogue text contains one."""

GENRES = ("Biography", "Drama", "Essay", "Fable", "History", "Journal", "Mystery", "Portrait", "Saga", "Satire")
DOMAINS = ("books", "films")
OCCASIONS = 16
"""Number of occasions that a work can be for. They have no words: they show only in what people take together."""

ATTRIBUTES = {"style": len(STYLES), "theme": len(THEMES), "mood": len(MOODS), "genre": len(GENRES)}
"""What people have a lasting taste for, and its number of values."""

BLOCK = 120
"""Works drawn together. In a block every value of every attribute is equally frequent (occasions: in two blocks)."""

_CONSONANTS, _VOWELS, _LAST = "bdfghjklmnprstvz", "aeiou", "aiou"
_HOUSES = ("Ashby", "Birch", "Castle", "Delta", "Elm", "Garnet", "Harbour", "Juniper", "Lantern", "Orchard")


@dataclass(frozen=True)
class Works:
    """Row i is work i.

    Attributes:
        names: One made-up word of its own per work. No two differ by one letter alone.
        titles: Each contains the name, about half of them the word of the theme.
        descriptions: Two sentences: name, domain, theme, year, house and length.
        years: 1950 to 2022.
        values: int64 [n] for ``style``, ``theme``, ``mood``, ``genre``, ``domain`` and ``occasion``.
    """

    names: list[str]
    titles: list[str]
    descriptions: list[str]
    years: list[int]
    values: dict[str, NDArray[np.int64]]


def works(n: int, seed: int = 0, domains: int = len(DOMAINS)) -> Works:
    """The first ``n`` works of the world ``seed``; they are the same for every larger ``n``.

    With one domain the same works are all books: their domain and descriptions change, and nothing else.
    """
    if not 1 <= n <= len(_NAMES):
        raise ValueError(f"a world has 1 to {len(_NAMES)} works, not {n}")
    blocks = [_block(seed, k) for k in range(-(-n // BLOCK))]
    drawn = {name: np.concatenate([block[name] for block in blocks])[:n] for name in blocks[0]}
    values = {name: drawn[name] for name in (*ATTRIBUTES, "domain", "occasion")}
    values["domain"] = values["domain"] % domains
    order = np.random.default_rng(seed).permutation(len(_NAMES))
    names = [_NAMES[k] for k in order[:n]]
    words = [list(THEMES)[k] for k in values["theme"]]
    forms = ("{name} and the {word}", "The {word} of {name}", "The {name} Story", "{name}, Part One")
    titles = [forms[k].format(name=name, word=word) for name, word, k in zip(names, words, drawn["form"], strict=True)]
    descriptions = [
        _description(name, word, *facts)
        for name, word, *facts in zip(
            names, words, *(x.tolist() for x in (values["domain"], drawn["year"], drawn["house"], drawn["length"])),
            strict=True,
        )
    ]  # fmt: skip
    return Works(names, titles, descriptions, drawn["year"].tolist(), values)


def _description(name: str, word: str, domain: int, year: int, house: int, length: int) -> str:
    subject, detail = THEMES[word]
    kind, unit = (("book", "pages"), ("film", "minutes"))[domain]
    return (
        f"{name} is a {kind} about {subject}, with {detail} at its centre. "
        f"It came out in {year} at {_HOUSES[house]} House and takes {length} {unit}."
    )


def _block(seed: int, number: int) -> dict[str, NDArray[np.int64]]:
    """int64 [BLOCK] per drawn thing. Each block has a stream of its own, so that a longer world begins alike."""
    rng = np.random.default_rng([seed, 1 + number])  # [seed, 0] is the stream of the names
    place = np.arange(BLOCK) + number * BLOCK
    sizes = {**ATTRIBUTES, "domain": len(DOMAINS), "occasion": OCCASIONS}
    drawn = {name: rng.permutation(place % size) for name, size in sizes.items()}
    ranges = {"form": (0, 4), "year": (1950, 2023), "house": (0, len(_HOUSES)), "length": (80, 400)}
    return drawn | {name: rng.integers(low, high, BLOCK) for name, (low, high) in ranges.items()}


def _names() -> list[str]:
    """All six-letter names (Tomeka, Rusilo) whose letter numbers add up to 0 modulo 16.

    The third consonant is the check letter, as in a code of distance two: changing one letter never gives another
    name, so that a slip of one letter is not a hit on a wrong work.
    """
    names = []
    for a, b, c, d, f in product(_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS, _LAST):
        spent = sum(_CONSONANTS.index(x) for x in (a, c)) + sum(_VOWELS.index(x) for x in (b, d, f))
        names.append(f"{a}{b}{c}{d}{_CONSONANTS[-spent % 16]}{f}".capitalize())
    return names


_NAMES = _names()
