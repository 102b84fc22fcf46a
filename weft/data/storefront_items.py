"""The storefront's shelf: which works it stocks, what each is made of, and what a shopper can read.

The works, their titles and texts come from the world (``weft.data.world.works``). The shop adds what is its own: how
popular an item is there, which community likes it, its second genre, and when it was released.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.data.storefront_truth import BLOCKS, COMMUNITY_WIDTH, WIDTH
from weft.data.world.works import ATTRIBUTES, DOMAINS, GENRES, Works, works


@dataclass(frozen=True)
class Shelf:
    """Hidden and visible sides of the catalogue; row i is work ``i`` of the world.

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


def stock(n: int, world: int, domains: int, release: NDArray[np.int64], rng: np.random.Generator) -> Shelf:
    """Stocks the first ``n`` works of the world, all of them as books if there is one domain."""
    stocked = works(n, world, domains)
    values = stocked.values
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
    return Shelf(ids, values, release, vectors, _catalogue(ids, stocked, second))


def _catalogue(ids: list[str], stocked: Works, second: NDArray[np.int64]) -> pl.DataFrame:
    """What a shopper can read: schema ``RawItems``."""
    pairs = zip(stocked.values["genre"].tolist(), second.tolist(), strict=True)
    return pl.DataFrame(
        {
            "row": np.arange(len(ids), dtype=np.int64),
            "item_id": ids,
            "title": stocked.titles,
            "year": np.array(stocked.years, np.int32),
            "genres": [[GENRES[k] for k in sorted(set(pair))] for pair in pairs],
            "description": stocked.descriptions,
            "domain": [DOMAINS[k] for k in stocked.values["domain"]],
            "image": [f"{name}.jpg" for name in ids],
        }
    )
