"""What each variant of a system changes, from its outcome leaves: rows of ``reports.ablations``. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from weft.evaluation.comparison import paired
from weft.evaluation.leaderboard import HEADLINES
from weft.evaluation.measuring import Measured, mean_over_seeds, measure
from weft.evaluation.tables import Outcome, difference_told, in_order, questions, rounded, splits_of, table_of
from weft.schemas import Ablations
from weft.systems.registry import FULL

Seeds = dict[int | None, Measured]


def ablations_of(outcomes: Iterable[Outcome]) -> pl.DataFrame:
    """Full - variant on the test questions of every system that comes in variants (schema ``Ablations``).

    Both sides are means over the seeds that both have, on the same users in every resample: a paired bootstrap over
    users, pooled over seeds.
    """
    found: dict[tuple, dict[str, Seeds]] = {}
    for outcome in sorted(outcomes, key=in_order):
        frame = dict(splits_of(outcome)).get("test")
        if frame is not None:
            variants = found.setdefault((outcome.system, questions(outcome, frame)), {})
            variants.setdefault(str(outcome.cell.variant), {})[outcome.cell.seed] = measure(frame)
    rows = [
        {"protocol": protocol, "profile": profile, "system": system, **row}
        for (system, (protocol, _, profile, _)), variants in found.items()
        for row in _against_full(variants)
    ]
    return table_of(Ablations, rows).sort("protocol", "profile", "system", "variant", "slice", "metric", "k")


def _against_full(variants: Mapping[str, Seeds]) -> Iterator[dict[str, Any]]:
    whole = variants.get(FULL, {})
    for variant, fits in variants.items():
        seeds = sorted(whole.keys() & fits.keys(), key=str)
        if variant != FULL and seeds:
            full, other = (mean_over_seeds([each[seed] for seed in seeds]) for each in (whole, fits))
            for row in _differences(full, other):
                yield {"variant": variant, "seeds": len(seeds), **row}


def _differences(full: Measured, other: Measured) -> Iterator[dict[str, Any]]:
    difference = paired(full.value, other.value, full.samples, other.samples)
    for place, (part, metric, k) in enumerate(full.columns):
        if (metric, k) not in HEADLINES or full.n[place] < 2 or np.isnan(difference.delta[place]):
            continue  # one unit has no spread
        yield {
            "metric": metric,
            "k": k,
            "slice": part,
            "full": rounded(full.value[place]),
            "value": rounded(other.value[place]),
            **difference_told(difference, place),
            "n": int(full.n[place]),
        }
