"""The planted truth of the storefront: how its vectors are laid out, and the oracle that reads them.

Affinity = user vector · item vector, popularity included, so that the softmax of affinities over the items on the
shelf *is* the choice model, and no recommender can rank better than the oracle except by luck.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.data.world.works import ATTRIBUTES, DOMAINS, OCCASIONS
from weft.errors import RequestError

if TYPE_CHECKING:
    import torch

    from weft.data.sequences import Queries

COMMUNITY_WIDTH = 8
VISIT = ("occasion", "wish", "domain")
"""Blocks that hold for one visit only; ``wish`` repeats the theme for what a visitor looks for today."""


SIGNALS = (*ATTRIBUTES, "community", *VISIT)
"""What an affinity is made of beside popularity; a part of the truth vector each, lasting tastes one per domain."""


def _blocks() -> dict[str, slice]:
    """Each domain has cells of its own for lasting tastes, so that they may differ there."""
    widths = {f"{domain}.{name}": size for domain in DOMAINS for name, size in ATTRIBUTES.items()}
    widths |= {"community": COMMUNITY_WIDTH}
    widths |= {"occasion": OCCASIONS, "wish": ATTRIBUTES["theme"], "domain": len(DOMAINS), "popularity": 1}
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}


BLOCKS = _blocks()
"""Name of each part of a truth vector, and where it lies."""

WIDTH = BLOCKS["popularity"].stop


def cells(signal: str) -> list[slice]:
    """Where a signal lies in a truth vector: one place, or one per domain.

    Raises:
        RequestError: If there is no such signal.
    """
    if signal not in SIGNALS:
        raise RequestError(f"the storefront has no signal {signal}", f"take one of {', '.join(SIGNALS)}")
    return [BLOCKS[f"{domain}.{signal}"] for domain in DOMAINS] if signal in ATTRIBUTES else [BLOCKS[signal]]


def vectors(truth: pl.DataFrame) -> NDArray[np.float32]:
    """float32 [rows, WIDTH]: the vectors of a truth table, row by row."""
    return truth["vector"].explode(empty_as_null=False).to_numpy().astype(np.float32, copy=False).reshape(-1, WIDTH)


def planted_attributes(truth: pl.DataFrame) -> pl.DataFrame:
    """What each item is made of: ``item_id, release, domain, style, theme, mood, genre, occasion`` (value numbers).

    Mood and occasion stand in no catalogue; a probe or a knowledge corpus takes them from here. An item of two
    genres is listed under the one with the smaller number.
    """
    items = truth.filter(pl.col("kind") == "item")
    table = vectors(items)
    both = {name: sum(table[:, BLOCKS[f"{domain}.{name}"]] for domain in DOMAINS) for name in ATTRIBUTES}
    columns = {name: np.argmax(cells, axis=1) for name, cells in both.items()}
    return pl.DataFrame(
        {
            "item_id": items["id"],
            "release": items["since"],
            "domain": [DOMAINS[k] for k in np.argmax(table[:, BLOCKS["domain"]], axis=1)],
            **columns,
            "occasion": np.argmax(table[:, BLOCKS["occasion"]], axis=1),
        }
    )


def planted_items(truth: pl.DataFrame, items: pl.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """float32 [n + 1, WIDTH] and int64 [n + 1]: vector and release of each item of schema ``Items``; row 0 is zero.

    Raises:
        RequestError: If an item has no planted vector.
    """
    planted = truth.filter(pl.col("kind") == "item").drop("kind")
    ours = items.select("item", id="item_id").join(planted, on="id", how="left").sort("item")
    if unknown := ours["since"].null_count():
        raise RequestError(f"{unknown} items have no planted truth", "use the truth of the same simulation")
    table = np.concatenate([np.zeros((1, WIDTH), np.float32), vectors(ours)])
    return table, np.concatenate([[0], ours["since"].to_numpy()])


class Oracle:
    """Scores with the planted truth: tastes and intents in force at the moment of asking, and what is on the shelf.

    Args:
        truth: Schema ``Truth``.
        users: Schema ``Users``; a user without truth is scored by popularity alone.
        items: Schema ``Items``.
        signals: Those of ``SIGNALS`` that it knows; None: all. Popularity it always knows. What a signal is worth
            shows in how far an oracle of it alone stands above one of none.

    Raises:
        RequestError: If an item has no planted vector, or there is no such signal.
    """

    def __init__(
        self, truth: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame, signals: Collection[str] | None = None
    ) -> None:
        self._items, self._release = planted_items(truth, items)
        known = np.zeros(WIDTH, bool)
        for place in [BLOCKS["popularity"], *(cell for signal in signals or () for cell in cells(signal))]:
            known[place] = True
        if signals is not None:
            self._items[:, ~known] = 0

        rows = users.select("user", id="user_id").join(truth.filter(pl.col("kind") == "user").drop("kind"), on="id")
        rows = rows.sort("user", "since")
        self._user = rows["user"].to_numpy()
        self._key = _moment(self._user, rows["since"].to_numpy())
        nobody = np.zeros((1, WIDTH), np.float32)
        nobody[0, BLOCKS["popularity"]] = 1
        self._vectors = np.concatenate([vectors(rows), nobody])

    def score(self, queries: Queries) -> torch.Tensor:
        """float32 [q, n_items + 1]: affinities; -inf in column 0 and for items not yet released at ``queries.time``.

        Without times the last vector of each user counts, and every item is on the shelf.
        """
        import torch  # noqa: PLC0415 - the simulator itself needs no torch

        time = _times(queries)
        scores = self._vectors[self._row(queries.user, time)] @ self._items.T
        scores[self._release[None, :] > time[:, None]] = -np.inf
        scores[:, 0] = -np.inf
        return torch.from_numpy(scores)

    def liking(self, queries: Queries, item: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32 [q]: how much each user lastingly likes one given item; ratings are drawn from this plus noise."""
        lasting = self._vectors[self._row(queries.user, _times(queries))].copy()
        for block in (*VISIT, "popularity"):
            lasting[:, BLOCKS[block]] = 0
        return np.einsum("qd,qd->q", lasting, self._items[item])

    def _row(self, user: NDArray[np.int32], time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of the vector in force: the newest that is not later than ``time``, else the user's first."""
        newest = np.searchsorted(self._key, _moment(user, time), side="right") - 1
        first = np.searchsorted(self._user, user, side="left")
        row = np.maximum(newest, first)
        known = np.append(self._user, -1)[row] == user
        return np.where(known, row, len(self._user))


def _times(queries: Queries) -> NDArray[np.int64]:
    """int64 [q]: the moments of asking; the end of all days where there are no times."""
    return queries.time if queries.time is not None else np.full(len(queries), 2**40 - 1)


def _moment(user: NDArray[np.int32], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """One sortable number per (user, second)."""
    return (user.astype(np.int64) << 40) + time
