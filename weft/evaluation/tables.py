"""From outcome leaves to the rows of ``reports.*``: pure functions, in a fixed order, without times or run ids.

An outcome leaf is a ``Rankings`` or a ``ScoredPairs`` table with the attributes of its footer. Imports no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.cells import Cell
from weft.evaluation import metrics as m
from weft.evaluation.comparison import Difference, paired
from weft.evaluation.intervals import interval
from weft.evaluation.measuring import Catalogue, Measured, measure
from weft.schemas import SPLITS, Comparisons, Metrics

Floats = NDArray[np.float64]
COMPARED = {("hr", 10), ("ndcg", 10), ("mrr", None), ("auc", None), ("uauc", None)}

# Sums of floats differ in the last digits with the number of threads; equal input must give an equal digest.
_DIGITS = 10


@dataclass(frozen=True)
class Outcome:
    """One outcome leaf: where it stands, its footer's attributes, and its rows."""

    cell: Cell
    attributes: Mapping[str, str]
    frame: pl.DataFrame

    @property
    def pointwise(self) -> bool:
        """Labelled pairs, not rankings."""
        return "label" in self.frame.columns

    @property
    def system(self) -> str:
        """The system that made it."""
        return self.attributes["system"]


def metrics_of(outcome: Outcome, catalogue: Catalogue | None = None) -> pl.DataFrame:
    """Rows of ``reports.metrics`` for one outcome leaf.

    Args:
        outcome: The leaf.
        catalogue: Adds coverage and popularity of what is recommended; None leaves them out.
    """
    rows: list[dict[str, Any]] = []
    for split, frame in splits_of(outcome):
        measured = measure(frame, catalogue)
        low, high = interval(measured.samples)
        for place, (part, metric, k) in enumerate(measured.columns):
            figures = (measured.value[place], low[place], high[place])
            rows.append(_row(split, part, metric, k, figures, int(measured.n[place]), measured.ties[part]))
        if catalogue is not None and not outcome.pointwise:
            for k in m.CUTS:
                share = m.coverage(m.top_items(frame, k), catalogue.candidates[split])
                rows.append(_row(split, "all", "coverage", k, (share, None, None), len(frame), None))
    identity = {
        **_cell(outcome.cell),
        "protocol_digest": outcome.attributes["protocol_digest"],
        "system": outcome.system,
        "config_digest": outcome.attributes["config_digest"],
        "device": outcome.attributes["device"],
    }
    return table_of(Metrics, [{**identity, **row} for row in rows])


def merge_metrics(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All rows of all outcomes in the order of their keys."""
    keys = ["protocol", "system", "variant", "profile", "seed", "split", "slice", "metric", "k", "protocol_digest"]
    return pl.concat([Metrics.create_empty(), *parts]).sort(keys)


def comparisons_of(outcomes: Iterable[Outcome]) -> pl.DataFrame:
    """Paired differences of all pairs of systems that answered the same test questions with the same seed."""
    groups: dict[tuple, list[tuple[Outcome, Measured]]] = {}
    for outcome in outcomes:
        frame = dict(splits_of(outcome)).get("test")
        if frame is not None:
            same = (*questions(outcome, frame), outcome.cell.seed)
            # Without its rows: those of all outcomes together are more than a machine may hold.
            groups.setdefault(same, []).append((replace(outcome, frame=frame.clear()), measure(frame)))
    ordered = (sorted(group, key=lambda one: in_order(one[0])) for group in groups.values())
    rows = [row for group in ordered for a, b in combinations(group, 2) for row in _compare(a, b)]
    return table_of(Comparisons, rows).sort(
        "protocol", "profile", "seed", "a", "variant_a", "b", "variant_b", "slice", "metric", "k"
    )


def _compare(a: tuple[Outcome, Measured], b: tuple[Outcome, Measured]) -> Iterator[dict[str, Any]]:
    (left, of_left), (right, of_right) = a, b
    difference = paired(of_left.value, of_right.value, of_left.samples, of_right.samples)
    for place, (part, metric, k) in enumerate(of_left.columns):
        if (metric, k) not in COMPARED or of_left.n[place] < 2 or np.isnan(difference.delta[place]):
            continue  # one unit has no spread: its interval would claim certainty
        yield {
            "a": left.system,
            "b": right.system,
            **_cell(left.cell),
            "variant_a": left.cell.variant,
            "variant_b": right.cell.variant,
            "metric": metric,
            "k": k,
            "slice": part,
            **difference_told(difference, place),
            "n": int(of_left.n[place]),
        }


def difference_told(difference: Difference, place: int) -> dict[str, float | None]:
    """One difference as the columns that every table of differences has."""
    return {
        "delta": rounded(difference.delta[place]),
        "ci_low": rounded(difference.low[place]),
        "ci_high": rounded(difference.high[place]),
        "p": rounded(difference.p[place]),
    }


def splits_of(outcome: Outcome) -> Iterator[tuple[str, pl.DataFrame]]:
    """The splits that an outcome has rows of, each in the order of its questions."""
    for split in SPLITS[:3]:
        rows = outcome.frame.filter(pl.col("split") == split)
        if len(rows):
            yield split, rows.sort("row" if outcome.pointwise else "query")


def questions(outcome: Outcome, frame: pl.DataFrame) -> tuple:
    """Equal for outcomes whose differences mean something: same rules, same profile, same questions in ``frame``."""
    asked = frame.select(["row", "item", "label"] if outcome.pointwise else ["query", "user", "target"])
    digest = hashlib.sha256()
    for column in asked.iter_columns():
        digest.update(column.to_numpy().tobytes())
    cell = outcome.cell
    return cell.protocol, outcome.attributes["protocol_digest"], cell.profile, digest.hexdigest()


def in_order(outcome: Outcome) -> tuple:
    """Sorts outcomes by system and cell."""
    return (outcome.system, *outcome.cell.parts())


def _cell(cell: Cell) -> dict[str, Any]:
    return {"protocol": cell.protocol, "variant": cell.variant, "profile": cell.profile, "seed": cell.seed}


def _row(
    split: str, part: str, metric: str, k: int | None, figures: tuple, n: int, ties: float | None
) -> dict[str, Any]:
    value, low, high = map(rounded, figures)
    return {
        "split": split,
        "slice": part,
        "metric": metric,
        "k": k,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": n,
        "tie_share": rounded(ties),
    }


def table_of(schema: type[dy.Schema], rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a table of ``schema``, which may be empty."""
    columns = list(schema.columns())
    if not rows:
        return schema.create_empty()
    return schema.cast(pl.DataFrame(rows, infer_schema_length=None).select(columns))


def rounded(value: float | None) -> float | None:
    """A figure as it is stored; None for one that is not defined."""
    return None if value is None or np.isnan(value) else round(float(value), _DIGITS)
