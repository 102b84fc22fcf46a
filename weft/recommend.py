"""Top items per user, ready to serve, each with the history item that speaks most for it.

A user without a history gets what was popular lately; user 0 stands for everybody whom we do not know.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from weft.data.sequences import Queries
from weft.errors import RequestError, WeftError
from weft.evaluation.ranking import Scorer, top_k
from weft.progress import NoProgress, Progress
from weft.schemas import Recommendations

COLD = "recent_popularity"
"""System named beside recommendations that no history stands behind."""

RECENT_DAYS = 30
EVIDENCE = 50
"""Newest history items that may be named as evidence."""

_DAY = 86_400
_ALONE = 512


def histories(interactions: pl.DataFrame, n_users: int) -> Queries:
    """One query per user, 0 to ``n_users``, with everything that they did (schema ``Interactions``), asked now."""
    ordered = interactions.sort("user", "timestamp", "row")
    user, item = ordered["user"].to_numpy(), ordered["item"].to_numpy()
    users = np.arange(n_users + 1, dtype=np.int32)
    offsets = np.searchsorted(user, np.arange(n_users + 2)).astype(np.int64)
    newest = ordered["timestamp"].max()
    time = None if ordered["timestamp"].null_count() or newest is None else np.full(len(users), newest, np.int64)
    return Queries(users.astype(np.int64), users, time, item.astype(np.int32), offsets)


def recommend(
    score: Scorer,
    system: str,
    interactions: pl.DataFrame,
    users: pl.DataFrame,
    items: pl.DataFrame,
    n: int,
    liked: pl.Expr | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """The best ``n`` unseen items of every user.

    Args:
        score: A fitted model's.
        system: Its name.
        interactions: Schema ``Interactions``: the histories.
        users: Schema ``Users``.
        items: Schema ``Items``; every item that anybody took may be recommended.
        n: Items per user; fewer where a user has seen nearly everything.
        liked: Which interactions the model reads as history; None: all. Whatever was taken is not offered again.
        progress: Who watches.

    Returns:
        Schema ``Recommendations``, sorted by (user, rank).

    Raises:
        RequestError: If there is no interaction.
        WeftError: If somebody would get nothing, or something that they took already.
    """
    if interactions.is_empty():
        raise RequestError("there are no interactions to recommend from", "run interactions.interactions first")
    taken = histories(interactions, len(users))
    queries = taken if liked is None else histories(interactions.filter(liked), len(users))
    candidates = np.zeros(len(items) + 1, np.bool_)
    candidates[taken.items] = True
    known = np.flatnonzero(taken.lengths > 0)
    cold = np.flatnonzero(taken.lengths == 0)
    best, values = np.zeros((len(queries), n), np.int32), np.full((len(queries), n), -np.inf, np.float32)
    best[known], values[known] = top_k(partial(_untaken, score, taken), queries.take(known), n, candidates=candidates)
    best[cold], values[cold] = _popular_lately(interactions, len(items), n)
    reason = _evidence(score, queries, best, progress or NoProgress())

    row, column = np.nonzero(values > -np.inf)
    title = pl.concat([pl.Series([None], dtype=pl.String), items.sort("item")["title"]])
    item_id = pl.concat([pl.Series([""]), items.sort("item")["item_id"]])
    user_id = pl.concat([pl.Series([""]), users.sort("user")["user_id"]])
    item = best[row, column]
    evidence = reason[row, column]
    cells = pl.DataFrame(
        {
            "user": row.astype(np.int32),
            "user_id": user_id.gather(row),
            "rank": (column + 1).astype(np.int32),
            "item": item,
            "item_id": item_id.gather(item),
            "title": title.gather(item),
            "score": values[row, column],
            "system": np.where(np.isin(row, cold), COLD, system),
            "because": title.fill_null(item_id).gather(evidence).set(pl.Series(evidence == 0), None),
        }
    )
    _verify(cells, interactions, users)
    return Recommendations.cast(cells)


def _untaken(score: Scorer, taken: Queries, queries: Queries) -> torch.Tensor:
    """Scores of ``queries``, -inf for what their users took; ``taken`` holds one history per user, from 0."""
    scores = score(queries).clone()
    own = taken.take(queries.query)
    row = np.repeat(np.arange(len(own)), own.lengths)
    index = np.stack([row, own.items])
    scores[tuple(torch.from_numpy(index).to(scores.device))] = -torch.inf
    return scores


def _verify(served: pl.DataFrame, interactions: pl.DataFrame, users: pl.DataFrame) -> None:
    """Refuses what must not be served; a user who took everything there is has nothing left to be offered."""
    taken = interactions.select("user", "item").unique()
    busy = taken.group_by("user").len().filter(pl.col("len") >= taken["item"].n_unique())
    without = users.join(served, on="user", how="anti").join(busy, on="user", how="anti").height
    again = served.join(taken, on=["user", "item"], how="semi").height
    if without or again:
        raise WeftError(
            f"{without} users would get no recommendations and {again} items were taken already",
            "fit the model again, or serve another one: --set serving.recommendations.system=popularity",
        )


def _popular_lately(interactions: pl.DataFrame, n_items: int, n: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Items by their events in the last ``RECENT_DAYS`` days (of all days where there are no times)."""
    newest = interactions["timestamp"].max()
    if isinstance(newest, int) and not interactions["timestamp"].null_count():
        interactions = interactions.filter(pl.col("timestamp") > newest - RECENT_DAYS * _DAY)
    counts = np.bincount(interactions["item"].to_numpy(), minlength=n_items + 1).astype(np.float32)
    order = np.argsort(-counts, kind="stable")[:n]
    items, values = np.zeros(n, np.int32), np.full(n, -np.inf, np.float32)
    found = counts[order] > 0
    items[: len(order)][found], values[: len(order)][found] = order[found], counts[order][found]
    return items, values


def _evidence(score: Scorer, queries: Queries, best: NDArray[np.int32], progress: Progress) -> NDArray[np.int32]:
    """int32 like ``best``: the history item after which alone the model finds the recommended item likeliest.

    Likely is the log-softmax over the catalogue, so that a history item that raises every score is no evidence. 0
    without a history, and everywhere for a model that no history moves (popularity).
    """
    # One row per (user, newer history item), users in order, oldest first.
    lengths = np.minimum(queries.lengths, EVIDENCE)
    user = np.repeat(np.arange(len(queries)), lengths)
    ends = np.cumsum(lengths)
    past = queries.items[np.repeat(queries.offsets[1:] - ends, lengths) + np.arange(len(user))]
    told = np.zeros((len(past), best.shape[1]), np.float32)
    by_item = np.argsort(past, kind="stable")
    distinct = np.unique(past)
    first, moved = None, False
    with progress.step("evidence", len(distinct), "items") as step:
        for start in range(0, len(distinct), _ALONE):
            chunk = distinct[start : start + _ALONE]
            likely = torch.log_softmax(score(_alone(chunk)).float(), dim=1).cpu().numpy()
            first = likely[0] if first is None else first
            moved = moved or bool((likely != first).any())
            rows = by_item[slice(*np.searchsorted(past[by_item], [chunk[0], chunk[-1] + 1]))]
            told[rows] = likely[np.searchsorted(chunk, past[rows])[:, None], best[user[rows]]]
            step.advance(len(chunk))
    reason = np.zeros_like(best)
    some = np.flatnonzero(lengths)
    if moved:
        highest = np.zeros(best.shape, np.float32)
        highest[some] = np.maximum.reduceat(told, ends[some] - lengths[some])
        for column in range(best.shape[1]):  # rows go from old to new: of equal winners the newest is written last
            won = told[:, column] >= highest[user, column]
            reason[user[won], column] = past[won]
    return reason


def _alone(items: NDArray[np.int32]) -> Queries:
    """One query per item, with that item as its whole history."""
    n = len(items)
    return Queries(np.arange(n), np.zeros(n, np.int32), None, items, np.arange(n + 1))
