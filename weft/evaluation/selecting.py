"""What selects on the validation split, an epoch or settings: one metric per kind of protocol, higher is better."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from weft.evaluation.pairs import measured, selecting_metric
from weft.evaluation.ranking import ndcg_at_10

if TYPE_CHECKING:
    from weft.data.sequences import Task
    from weft.models.base import Model


def selecting(validation: Task | None) -> tuple[str, Callable[[Model], float]] | None:
    """The metric and how to take it of a model: NDCG@10; UAUC of labelled pairs, AUC where no user has both classes.

    None where there is nothing to select by.
    """
    if validation is None:
        return None
    if validation.label is None:
        return "ndcg@10", lambda model: ndcg_at_10(model.score, validation)
    metric = selecting_metric(validation)
    if metric is None:
        return None
    measure = partial(measured, metric)
    return metric, lambda model: measure(model.score_pairs, validation)
