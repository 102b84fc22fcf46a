"""Metrics as plain functions of arrays: of a target's mid-rank, of labelled scores, of lists of recommended items.

One target per query. The mid-rank is r = 1 + better + equal / 2, so equal scores share the middle of their places and
a constant scorer gets what chance deserves. A query without a prediction has r = inf: it scores 0 and is counted.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CUTS = (1, 5, 10, 20, 100)


def mid_ranks(rankings: pl.DataFrame) -> Floats:
    """float64 [q]: r of each row of a ``Rankings`` table; inf where the model gave the target no score."""
    rank = 1 + pl.col("better") + pl.col("equal") / 2
    return rankings.select(pl.when(pl.col("score").is_null()).then(np.inf).otherwise(rank)).to_series().to_numpy()


def hr(rank: Floats, k: int) -> Floats:
    """Hit rate: [r <= k]. Session papers call it P@K."""
    return (rank <= k).astype(np.float64)


def recall(rank: Floats, k: int) -> Floats:
    """Found share of the targets: with one target the same as the hit rate."""
    return hr(rank, k)


def precision(rank: Floats, k: int) -> Floats:
    """Share of targets among the first k: [r <= k] / k."""
    return hr(rank, k) / k


def ndcg(rank: Floats, k: int) -> Floats:
    """[r <= k] / log2(r + 1); the ideal list has its one target first, so there is nothing more to divide by."""
    return hr(rank, k) / np.log2(np.where(np.isinf(rank), 1, rank) + 1)


def mrr(rank: Floats, k: int | None = None) -> Floats:
    """1 / r, uncut; with k [r <= k] / r."""
    return 1 / rank if k is None else hr(rank, k) / np.where(np.isinf(rank), 1, rank)


RANKING: dict[str, Callable[[Floats, int], Floats]] = {
    "hr": hr,
    "precision": precision,
    "recall": recall,
    "ndcg": ndcg,
    "mrr": mrr,
}
"""Metrics of one target's rank, cut at k."""


def auc(label: NDArray[np.bool_], score: Floats, weight: Floats | None = None) -> Floats:
    """Probability that a positive scores above a negative, equal scores counting one half.

    Args:
        label: bool [n].
        score: float [n]; -inf where there is none.
        weight: float [b, n], how often each row counts in each of b resamples; None: once.

    Returns:
        float64 [b] (or [1]); NaN where a class is missing.
    """
    weights = np.ones((1, len(score))) if weight is None else weight
    liked, disliked = (rows[np.argsort(score[rows])] for rows in (np.flatnonzero(label), np.flatnonzero(~label)))
    # Weight of the negatives below each place among them: a positive wins against those, and half against its equals.
    below = np.zeros((len(weights), len(disliked) + 1))
    np.cumsum(weights[:, disliked], axis=1, out=below[:, 1:])
    first, behind = (np.searchsorted(score[disliked], score[liked], side) for side in ("left", "right"))
    positive = weights[:, liked]
    wins = np.einsum("bi,bi->b", positive, below[:, first] + below[:, behind]) / 2
    pairs = positive.sum(axis=1) * below[:, -1]
    return np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0)


def user_aucs(user: NDArray[Any], label: NDArray[np.bool_], score: Floats) -> tuple[NDArray[Any], Floats]:
    """The AUC inside each user who has both classes: their numbers, ascending, and float64 values. UAUC is the mean."""
    pairs = pl.DataFrame({"user": user, "label": label, "score": score})
    wins = (
        pairs.group_by("user", "score")
        .agg(positive=pl.col("label").sum().cast(pl.Float64), negative=(~pl.col("label")).sum().cast(pl.Float64))
        .sort("user", "score")
        .with_columns(below=pl.col("negative").cum_sum().over("user") - pl.col("negative"))
        .group_by("user", maintain_order=True)
        .agg(
            wins=(pl.col("positive") * (pl.col("below") + pl.col("negative") / 2)).sum(),
            pairs=pl.col("positive").sum() * pl.col("negative").sum(),
        )
        .filter(pl.col("pairs") > 0)
    )
    return wins["user"].to_numpy(), (wins["wins"] / wins["pairs"]).to_numpy()


def top_items(rankings: pl.DataFrame, k: int) -> NDArray[np.int32]:
    """int32 [q, k]: the recommended items, best first, 0 where a list is shorter."""
    items = rankings["items"].list.head(k)
    lengths = items.list.len().to_numpy().astype(np.int64)
    table = np.zeros((len(items), k), np.int32)
    flat = items.explode(empty_as_null=False).to_numpy()
    table[np.arange(k) < lengths[:, None]] = flat
    return table


def coverage(items: NDArray[np.int32], candidates: int) -> float:
    """Share of ``candidates`` items that anybody is recommended."""
    return len(np.unique(items[items > 0])) / max(candidates, 1)


def popularity(items: NDArray[np.int32], counts: NDArray[np.int64]) -> Floats:
    """float64 [q]: mean number of training events of the items recommended to each query (ARP); NaN for an empty list.

    Average recommendation popularity: Yin et al., VLDB 2012.
    """
    found = (items > 0).sum(axis=1)
    total = np.where(items > 0, counts[items], 0).sum(axis=1)
    return np.divide(total, found, out=np.full(len(items), np.nan), where=found > 0)
