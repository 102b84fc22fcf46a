"""The storefront's shelf: what each item is made of, and the title, text and genres that a shopper can read.

Style is drawn, never named. The theme is named in titles and descriptions. Mood and occasion are named nowhere:
mood is world knowledge about an item, occasion shows only in what people take together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.data.storefront_truth import ATTRIBUTES, BLOCKS, COMMUNITY_WIDTH, DOMAINS, OCCASIONS, WIDTH

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

GENRES = ("Biography", "Drama", "Essay", "Fable", "History", "Journal", "Mystery", "Portrait", "Saga", "Satire")
MOODS = ("calm", "dark", "funny", "gentle", "hopeful", "lonely", "proud", "sad", "strange", "tense")
"""Words for a knowledge corpus. No catalogue text contains one."""

_NAMES = (
    [a + b for a, b in product("BDFGHJKLMNPRSTVZ", "aeo")],
    [a + b for a, b in product("bdlmnrv", "aiou")],
    ["n", "ra", "sto", "via", "x"],
)
"""Syllables of made-up names: Balira, Zenovia."""

_HOUSES = ("Ashby", "Birch", "Castle", "Delta", "Elm", "Garnet", "Harbour", "Juniper", "Lantern", "Orchard")


@dataclass(frozen=True)
class Shelf:
    """Hidden and visible sides of the catalogue; row i is item ``i``.

    Attributes:
        ids: Source ids, in catalogue order, which tells nothing of popularity or release.
        values: int64 [n] per attribute (``style``, ``theme``, ``mood``, ``genre``), ``domain`` and ``occasion``.
        release: int64 [n], second of release.
        vectors: float32 [n, WIDTH], the planted vectors.
        table: Schema ``RawItems``.
    """

    ids: list[str]
    values: dict[str, NDArray[np.int64]]
    release: NDArray[np.int64]
    vectors: NDArray[np.float32]
    table: pl.DataFrame


def stock(n: int, domains: int, release: NDArray[np.int64], rng: np.random.Generator) -> Shelf:
    """Draws ``n`` items in the first ``domains`` domains; every attribute value is about equally frequent."""
    sizes = {**ATTRIBUTES, "domain": domains, "occasion": OCCASIONS}
    values = {name: rng.permutation(np.arange(n) % size) for name, size in sizes.items()}
    second = np.where(rng.random(n) < 0.3, rng.integers(0, ATTRIBUTES["genre"], n), values["genre"])
    popularity = rng.standard_normal(n)
    community = rng.standard_normal((n, COMMUNITY_WIDTH)) / np.sqrt(COMMUNITY_WIDTH)

    vectors = np.zeros((n, WIDTH), np.float32)
    row = np.arange(n)
    starts = {name: np.array([BLOCKS[f"{domain}.{name}"].start for domain in DOMAINS]) for name in ATTRIBUTES}
    for name, start in starts.items():
        vectors[row, start[values["domain"]] + values[name]] = 1
    vectors[row, starts["genre"][values["domain"]] + second] = 1
    vectors[row, BLOCKS["occasion"].start + values["occasion"]] = 1
    vectors[row, BLOCKS["wish"].start + values["theme"]] = 1
    vectors[row, BLOCKS["domain"].start + values["domain"]] = 1
    vectors[:, BLOCKS["community"]] = community
    vectors[:, BLOCKS["popularity"]] = popularity[:, None]

    ids = [f"i{k:04d}" for k in range(1, n + 1)]
    table = _describe(ids, values, second, rng)
    return Shelf(ids, values, release, vectors, table)


def _describe(
    ids: list[str], values: dict[str, NDArray[np.int64]], second: NDArray[np.int64], rng: np.random.Generator
) -> pl.DataFrame:
    """Writes titles (each with a name word of its own, about half with the theme), genres, years and descriptions."""
    n = len(ids)
    names = ["".join(parts) for parts in product(*_NAMES)]
    chosen = rng.permutation(len(names))[:n]
    years = rng.integers(1950, 2023, n)
    forms = rng.integers(0, 4, n)
    houses = rng.integers(0, len(_HOUSES), n)
    lengths = rng.integers(80, 400, n)
    themes = list(THEMES)
    titles, texts, genres = [], [], []
    for i in range(n):
        name, word = names[chosen[i]], themes[values["theme"][i]]
        subject, detail = THEMES[word]
        titles.append(
            (f"{name} and the {word}", f"The {word} of {name}", f"The {name} Story", f"{name}, Part One")[forms[i]]
        )
        kind, unit = ("book", "pages") if values["domain"][i] == 0 else ("film", "minutes")
        texts.append(
            f"{name} is a {kind} about {subject}, with {detail} at its centre. "
            f"It came out in {years[i]} at {_HOUSES[houses[i]]} House and takes {lengths[i]} {unit}."
        )
        genres.append([GENRES[k] for k in sorted({int(values["genre"][i]), int(second[i])})])
    return pl.DataFrame(
        {
            "row": np.arange(n, dtype=np.int64),
            "item_id": ids,
            "title": titles,
            "year": years.astype(np.int32),
            "genres": genres,
            "description": texts,
            "domain": [DOMAINS[k] for k in values["domain"]],
            "image": [f"{name}.jpg" for name in ids],
        }
    )
