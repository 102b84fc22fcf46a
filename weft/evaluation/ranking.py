"""From a model's scores to the target's exact place and the top items, in the full ranking or among drawn items.

Scores stay on the device they were made on; each batch is masked, counted and dropped. Not here: metrics, which are
computed later from the stored table (``metrics.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray

from weft.data.sequences import Queries, Task
from weft.errors import WeftError
from weft.progress import NoProgress, Progress

Scorer = Callable[[Queries], torch.Tensor]
"""Queries in, float32 [q, n_items + 1] out; ``Model.score`` is one."""


@dataclass(frozen=True)
class Ranks:
    """Where the targets of some queries stood, int32 [q] each (``score`` float32 [q], -inf where there is none).

    The mid-rank is 1 + better + equal / 2: a constant scorer over n candidates gets (n + 1) / 2.
    """

    score: torch.Tensor
    better: torch.Tensor
    equal: torch.Tensor
    candidates: torch.Tensor


def rank(
    score: Scorer,
    task: Task,
    *,
    system: str,
    seen_in_training: NDArray[np.bool_],
    tied_time: NDArray[np.bool_],
    top: int = 100,
    batch: int = 512,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Ranks every candidate for every query of ``task``.

    Args:
        score: The model.
        task: Queries, targets and candidates of one split.
        system: Name written into every row.
        seen_in_training: bool [n_items + 1], items with a training event.
        tied_time: bool [q], targets that the source row decided.
        top: Most items kept per query.
        batch: Queries scored at once; never changes a result.
        progress: Who watches.

    Returns:
        Schema ``Rankings``, one row per query in the order of the task.

    Raises:
        WeftError: If a score is NaN or has the wrong shape.
    """
    q, n = len(task), len(task.candidates)
    k = min(top, n - 1)
    counts = {name: np.zeros(q, np.int32) for name in ("better", "equal", "candidates")}
    target_score, values = np.zeros(q, np.float32), np.full((q, k), -np.inf, np.float32)
    items = np.zeros((q, k), np.int32)
    with (progress or NoProgress()).step(f"ranking {task.split}", q, "queries") as step:
        for index, queries in _batches(task.queries, batch):
            scores, ranks = _ranks_of(score, queries, task, index)
            for name, column in counts.items():
                column[index] = getattr(ranks, name).cpu().numpy()
            target_score[index] = ranks.score.cpu().numpy()
            best, best_values = _top(scores, k)
            items[index], values[index] = best.cpu().numpy(), best_values.cpu().numpy()
            step.advance(len(index))
    kept = values > -np.inf
    return pl.DataFrame(
        {
            "system": pl.Series([system], dtype=pl.String).new_from_index(0, q),
            "split": pl.Series([task.split], dtype=pl.Enum(("train", "validation", "test", "unused"))).new_from_index(
                0, q
            ),
            "query": task.queries.query,
            "user": task.queries.user,
            "target": task.target,
            "score": pl.Series(target_score).replace(-np.inf, None),
            **counts,
            "history": task.queries.lengths.astype(np.int32),
            "warm": seen_in_training[task.target],
            "tied_time": tied_time,
            "items": _lists(items, kept),
            "scores": _lists(values, kept),
        }
    )


def top_k(
    score: Scorer,
    queries: Queries,
    k: int,
    *,
    filter_seen: bool = True,
    candidates: NDArray[np.bool_] | None = None,
    batch: int = 512,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The best ``k`` items of each query, best first; equal scores in the order of item numbers.

    Args:
        score: The model.
        queries: Whose top items.
        k: How many.
        filter_seen: Leave out the items of each query's history.
        candidates: bool [n_items + 1], items that may be recommended; None: all.
        batch: Queries scored at once; never changes a result.

    Returns:
        Items int32 [q, k] and scores float32 [q, k]; 0 and -inf where there are fewer than ``k`` candidates.

    Raises:
        WeftError: If a score is NaN or has the wrong shape.
    """
    items, values = np.zeros((len(queries), k), np.int32), np.full((len(queries), k), -np.inf, np.float32)
    for index, part in _batches(queries, batch):
        scores = _checked(score(part), part, None if candidates is None else len(candidates))
        scores.masked_fill_(_hidden(scores, part, candidates, filter_seen=filter_seen), -torch.inf)
        best, best_values = _top(scores, min(k, scores.shape[1] - 1))
        width = best.shape[1]
        found = best_values.cpu().numpy()
        values[index, :width] = found
        items[index, :width] = np.where(found > -np.inf, best.cpu().numpy(), 0)
    return items, values


def target_ranks(
    scores: torch.Tensor,
    queries: Queries,
    target: NDArray[np.int32],
    candidates: NDArray[np.bool_],
    *,
    filter_seen: bool = True,
    among: NDArray[np.int32] | None = None,
) -> tuple[torch.Tensor, Ranks]:
    """Counts the candidates that score above and equal to the target, the target itself left out.

    Args:
        scores: float32 [q, n_items + 1], left as it is.
        queries: The q queries.
        target: int32 [q].
        candidates: bool [n_items + 1].
        filter_seen: Items of a query's history are not ranked; the target always is.
        among: int32 [q, c]: of the candidates, these alone are ranked, and the target; 0 is nobody.

    Returns:
        The masked scores (-inf for what is not ranked) and the counts.

    Raises:
        WeftError: If a score is NaN or has the wrong shape.
    """
    scores = _checked(scores, queries, len(candidates))
    column = torch.from_numpy(target.astype(np.int64)).to(scores.device)[:, None]
    own = scores.gather(1, column)
    hidden = _hidden(scores, queries, candidates, filter_seen=filter_seen)
    if among is not None:
        drawn = torch.zeros_like(hidden).scatter_(1, torch.from_numpy(among.astype(np.int64)).to(scores.device), True)
        hidden |= ~drawn
    hidden.scatter_(1, column, False)
    scores.masked_fill_(hidden, -torch.inf)
    if scores.amax().isnan():
        raise _not_a_number()
    ranked = _count(~hidden)
    better = _count(scores > own)
    # A target without a score is level with every candidate without one; what was hidden is -inf too, and not counted.
    equal = torch.where(own[:, 0] == -torch.inf, ranked - better, _count(scores == own)) - 1
    return scores, Ranks(own[:, 0], better, equal, ranked)


def ndcg_at_10(score: Scorer, task: Task, batch: int = 512) -> float:
    """Mean NDCG@10 of ``task``, the figure that selects an epoch: [r <= 10] / log2(r + 1) with r the mid-rank."""
    total = 0.0
    for index, queries in _batches(task.queries, batch):
        _, ranks = _ranks_of(score, queries, task, index)
        r = 1 + ranks.better.double() + ranks.equal.double() / 2
        gain = torch.where((r <= 10) & (ranks.score > -torch.inf), 1 / torch.log2(r + 1), 0.0)
        total += float(gain.sum())
    return total / max(len(task), 1)


def _ranks_of(score: Scorer, queries: Queries, task: Task, index: NDArray[np.int64]) -> tuple[torch.Tensor, Ranks]:
    """Scores the ``queries``, which stand at ``index`` of the task, and counts."""
    return target_ranks(
        score(queries),
        queries,
        task.target[index],
        task.candidates,
        filter_seen=task.filter_seen,
        among=None if task.among is None else task.among[index],
    )


def _batches(queries: Queries, batch: int) -> Iterator[tuple[NDArray[np.int64], Queries]]:
    """Queries by length of history, so that a sequence model pads little; each with its place in the whole."""
    order = np.argsort(queries.lengths, kind="stable")
    for start in range(0, len(order), batch):
        index = order[start : start + batch]
        yield index, queries.take(index)


def _checked(scores: torch.Tensor, queries: Queries, width: int | None) -> torch.Tensor:
    """A float32 copy to work on, so that ready scores are never changed under their owner."""
    if scores.ndim != 2 or len(scores) != len(queries) or width not in (None, scores.shape[1]):
        expected = f"[{len(queries)}, {width or 'n_items + 1'}]"
        raise WeftError(
            f"scores have the shape {list(scores.shape)} instead of {expected}",
            "score every item of the catalogue, with a column 0 for padding",
        )
    return scores.detach().to(torch.float32, copy=True)


def _hidden(
    scores: torch.Tensor, queries: Queries, candidates: NDArray[np.bool_] | None, *, filter_seen: bool
) -> torch.Tensor:
    """Bool [q, n_items + 1]: what is not ranked: padding, items that are no candidates, items of the history."""
    hidden = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    if candidates is not None:
        hidden[:] = torch.from_numpy(~candidates).to(scores.device)
    hidden[:, 0] = True
    if filter_seen:
        flat = np.repeat(np.arange(len(queries)) * scores.shape[1], queries.lengths) + queries.items
        hidden.view(-1)[torch.from_numpy(flat).to(scores.device)] = True
    return hidden


def _top(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best ``k`` columns of each row and their scores; ties go to the smaller item number on every device.

    ``topk`` alone leaves the order of equal scores open, and with it which of them make the cut; asking for one
    more shows the rows where that matters.
    """
    values, items = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    if values.isnan().any():
        raise _not_a_number()
    tied = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    if values.shape[1] > k:
        tied = (values[:, k] == values[:, k - 1]) & (values[:, k] > -torch.inf)
    values, items = values[:, :k], items[:, :k]
    if bool((values[:, 1:] == values[:, :-1]).any()):
        items, order = items.sort(1)
        values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
        items = items.gather(1, order)
    rows = tied.nonzero()[:, 0]
    if len(rows):
        some = scores[rows]
        edge = values[rows, -1:]
        above, level = some > edge, some == edge
        kept = above | (level & (level.cumsum(1) <= k - above.sum(1, keepdim=True)))
        chosen = kept.nonzero()[:, 1].view(len(rows), k)
        values[rows], order = some.gather(1, chosen).sort(dim=1, descending=True, stable=True)
        items[rows] = chosen.gather(1, order)
    return items, values


def _count(mask: torch.Tensor) -> torch.Tensor:
    """int32 [q]: true entries per row; as bytes, because a sum of booleans widens every one of them first."""
    return mask.view(torch.int8).sum(1, dtype=torch.int32)


def _not_a_number() -> WeftError:
    return WeftError("a score is NaN", "the fit diverged: lower the learning rate, or look at the loss curve")


def _lists(table: NDArray[np.generic], kept: NDArray[np.bool_]) -> pl.Series:
    """A list column from the entries of a matrix that are ``kept``, row by row."""
    offsets = np.concatenate([[0], np.cumsum(kept.sum(1))]).astype(np.int64)
    series = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, pa.array(table[kept])))
    if not isinstance(series, pl.Series):
        raise TypeError
    return series
