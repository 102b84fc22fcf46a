"""All figures of one split of one outcome, with their resamples: metrics, slices and bootstrap put together.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.evaluation import metrics as m
from weft.evaluation.intervals import bootstrap, means
from weft.schemas import SPLITS

Floats = NDArray[np.float64]
Column = tuple[str, str, int | None]
"""Slice, metric and k of one figure."""


@dataclass(frozen=True)
class Catalogue:
    """What coverage and popularity are measured against.

    Attributes:
        counts: int64 [n_items + 1], training events per item.
        candidates: Items that are ranked at all, per split.
    """

    counts: NDArray[np.int64]
    candidates: Mapping[str, int]

    @classmethod
    def of(cls, splits: pl.DataFrame) -> Catalogue:
        """From the splits of the protocol."""
        train = splits.filter(pl.col("split") == "train")["item"].to_numpy()
        most = int(splits["item"].max() or 0)  # type: ignore[arg-type]
        upto = {
            split: splits.filter(pl.col("split").is_in(SPLITS[: place + 1]))["item"].n_unique()
            for place, split in enumerate(SPLITS[:3])
        }
        return cls(np.bincount(train, minlength=most + 1), upto)


@dataclass(frozen=True)
class Measured:
    """The figures of one split of one outcome: value and resamples per column."""

    columns: list[Column]
    value: Floats
    samples: Floats
    n: NDArray[np.int64]
    ties: dict[str, float]


def mean_over_seeds(measured: Sequence[Measured]) -> Measured:
    """The mean of several fits of one system on the same questions.

    The same users are drawn for all of them, so that the spread is that of users, not of seeds.

    Args:
        measured: One per seed, of the same questions in the same order.
    """
    first = measured[0]
    value, samples = (np.mean([getattr(each, name) for each in measured], axis=0) for name in ("value", "samples"))
    ties = {part: float(np.mean([each.ties[part] for each in measured])) for part in first.ties}
    return Measured(first.columns, value, samples, first.n, ties)


def measure(frame: pl.DataFrame, catalogue: Catalogue | None = None) -> Measured:
    """All figures of one split of an outcome, for all its rows and for warm and cold ones apart.

    Args:
        frame: Rows of ``Rankings`` or ``ScoredPairs`` of one split. Warm is in a ranking a row whose item occurs
            in training and whose history is not empty, and among pairs a row whose user and item both do.
        catalogue: Adds the popularity of what is recommended.
    """
    return _measure_pairs(frame) if "label" in frame.columns else _measure_rankings(frame, catalogue)


def _measure_rankings(frame: pl.DataFrame, catalogue: Catalogue | None) -> Measured:
    rank = m.mid_ranks(frame)
    figures = {("mrr", None): m.mrr(rank)} | {
        (name, k): metric(rank, k) for name, metric in m.RANKING.items() for k in m.CUTS
    }
    if catalogue is not None:
        counts = np.pad(catalogue.counts, (0, max(0, _highest(frame) + 1 - len(catalogue.counts))))
        figures |= {("popularity", k): m.popularity(m.top_items(frame, k), counts) for k in m.CUTS}
    slices = _slices((frame["warm"] & (frame["history"] > 0)).to_numpy())
    columns = [(each, name, k) for each in slices for name, k in figures]
    values = np.column_stack([value for _ in slices for value in figures.values()])
    counted = np.column_stack([rows & ~np.isnan(value) for rows in slices.values() for value in figures.values()])
    value, samples = means(np.nan_to_num(values), counted, _units(frame, "query"))
    tied = (frame["equal"] > 0).to_numpy()
    ties = {name: float(tied[rows].mean()) for name, rows in slices.items()}
    return Measured(columns, value, samples, counted.sum(axis=0), ties)


def _measure_pairs(frame: pl.DataFrame) -> Measured:
    score = frame["score"].fill_null(-np.inf).cast(pl.Float64).to_numpy()
    label, unit = frame["label"].to_numpy(), _units(frame, "row")
    slices = _slices(frame["warm"].to_numpy())
    value, samples, n, ties = [], [], [], {}
    for name, rows in slices.items():
        users, index = np.unique(unit[rows], return_inverse=True)
        value.append(m.auc(label[rows], score[rows]))
        samples.append(_auc_samples(label[rows], score[rows], index, len(users)))
        asked, each = m.user_aucs(unit[rows], label[rows], score[rows])
        mean, drawn = means(each[:, None], np.ones((len(each), 1), np.bool_), asked)
        value.append(mean)
        samples.append(drawn)
        n += [int(rows.sum()), len(asked)]
        _, place, count = np.unique(score[rows], return_inverse=True, return_counts=True)
        ties[name] = float((count[place] > 1).mean())
    columns: list[Column] = [(name, metric, None) for name in slices for metric in ("auc", "uauc")]
    return Measured(columns, np.concatenate(value), np.column_stack(samples), np.array(n), ties)


def _auc_samples(label: NDArray[np.bool_], score: Floats, index: NDArray[np.int64], users: int) -> Floats:
    def statistic(weights: Floats) -> Floats:
        # Fifty resamples at a time: rows may outnumber the users by far.
        parts = [m.auc(label, score, weights[at : at + 50, index]) for at in range(0, len(weights), 50)]
        return np.concatenate(parts)[:, None]

    return bootstrap(statistic, users)


def _slices(warm: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    slices = {"all": np.ones(len(warm), np.bool_), "warm": warm, "cold": ~warm}
    return {name: rows for name, rows in slices.items() if rows.any()}


def _units(frame: pl.DataFrame, key: str) -> NDArray[np.int64]:
    """Who is resampled: users; an anonymous row stands for itself, numbered apart from all users."""
    users = pl.col("user").cast(pl.Int64)
    return frame.select(pl.when(users > 0).then(users).otherwise(-1 - pl.col(key))).to_series().to_numpy()


def _highest(frame: pl.DataFrame) -> int:
    return int(frame["items"].explode().max() or 0)  # type: ignore[arg-type]
