"""Labelled pairs: their scores as a table, and the figure that picks an epoch of a fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.data.sequences import Queries, Task
from weft.errors import WeftError
from weft.evaluation.metrics import auc, user_aucs
from weft.schemas import ScoredPairs

PairScorer = Callable[[Queries, NDArray[np.int32]], NDArray[np.float32]]
"""Queries and one item for each in, float32 [q] out; ``Model.score_pairs`` is one."""

# Pairs scored at a time: a model without a shortcut for pairs scores the whole catalogue for each.
_BATCH = 2048


def scores_of(score_pairs: PairScorer, task: Task) -> NDArray[np.float32]:
    """float32 [q]: the score of the judged item of every query.

    Raises:
        WeftError: If a score is NaN.
    """
    scores = np.empty(len(task), np.float32)
    for start in range(0, len(task), _BATCH):
        index = np.arange(start, min(start + _BATCH, len(task)))
        scores[index] = score_pairs(task.queries.take(index), task.target[index])
    if np.isnan(scores).any():
        raise WeftError("a score is NaN", "the fit diverged: lower the learning rate, or look at the loss curve")
    return scores


def scored_pairs(score_pairs: PairScorer, task: Task, *, system: str, warm: NDArray[np.bool_]) -> pl.DataFrame:
    """Scores of the labelled pairs of one split (schema ``ScoredPairs``), in the order of the task.

    Args:
        score_pairs: The model.
        task: One split of a pointwise protocol.
        system: Name written into every row.
        warm: bool [q], pairs whose user and item were both trained on.
    """
    scores = scores_of(score_pairs, task)
    table = pl.DataFrame(
        {
            "system": pl.Series([system], dtype=pl.String).new_from_index(0, len(task)),
            "split": pl.Series([task.split], dtype=pl.String).new_from_index(0, len(task)),
            "row": task.queries.query,
            "user": task.queries.user,
            "item": task.target,
            "label": _labels(task),
            "score": pl.Series(scores).replace(-np.inf, None),
            "warm": warm,
        }
    )
    return ScoredPairs.cast(table)


def selecting_metric(task: Task) -> str | None:
    """What picks the epoch under a pointwise protocol: ``uauc``; ``auc`` where no user has both classes.

    None where the split has one class alone: then there is nothing to select by.
    """
    label = _labels(task)
    if len(user_aucs(task.queries.user, label, np.zeros(len(task)))[0]):
        return "uauc"
    return "auc" if label.any() and not label.all() else None


def measured(metric: str, score_pairs: PairScorer, task: Task) -> float:
    """``uauc`` or ``auc`` of the task."""
    label, scores = _labels(task), scores_of(score_pairs, task).astype(np.float64)
    if metric == "uauc":
        return float(user_aucs(task.queries.user, label, scores)[1].mean())
    return float(auc(label, scores)[0])


def _labels(task: Task) -> NDArray[np.bool_]:
    if task.label is None:
        raise ValueError(f"the {task.split} task has no labels")
    return task.label
