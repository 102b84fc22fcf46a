"""What each variant of a system changes, from its outcome leaves: rows of ``reports.ablations``. Imports no torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from weft.evaluation.comparison import paired
from weft.evaluation.leaderboard import HEADLINES
from weft.evaluation.measuring import Measured, mean_over_seeds, measure
from weft.evaluation.tables import Outcome, difference_told, questions, rounded, splits_of, table_of
from weft.schemas import Ablations
from weft.systems.registry import FULL, SYSTEMS

Seeds = dict[int | None, tuple[Measured, Mapping[str, str]]]
"""Of one variant by seed: what was measured, and what its footer says."""

_SETTINGS = ("prompt_settings", "settings")
_LOG = logging.getLogger(__name__)


def ablations_of(outcomes: Iterable[Outcome]) -> pl.DataFrame:
    """Full - variant on the test questions of every system that comes in variants (schema ``Ablations``).

    Both sides are means over the seeds that both have with the same settings, on the same users in every resample: a
    paired bootstrap over users, pooled over seeds. A variant of other settings would say what these change, not what
    the part is worth; it is left out with a warning.
    """
    found: dict[tuple, dict[str, Seeds]] = {}
    for outcome in outcomes:
        frame = dict(splits_of(outcome)).get("test") if outcome.system in SYSTEMS else None
        if frame is not None:
            variants = found.setdefault((outcome.system, questions(outcome, frame)), {})
            variants.setdefault(str(outcome.cell.variant), {})[outcome.cell.seed] = measure(frame), outcome.attributes
    rows = [
        {"protocol": protocol, "profile": profile, "system": system, **row}
        for (system, (protocol, _, profile, _)), variants in found.items()
        for row in _against_full(system, variants)
    ]
    return table_of(Ablations, rows).sort("protocol", "profile", "system", "variant", "slice", "metric", "k")


def _against_full(system: str, variants: Mapping[str, Seeds]) -> Iterator[dict[str, Any]]:
    whole = variants.get(FULL, {})
    for variant, fits in variants.items():
        both = sorted(whole.keys() & fits.keys(), key=str) if variant != FULL else []
        seeds = [seed for seed in both if _alike(whole[seed][1], fits[seed][1])]
        if len(seeds) < len(both):
            told = f"{system} {variant}", len(both) - len(seeds)
            _LOG.warning("%s: %d seeds have other settings than the whole system and are left out", *told)
        if seeds:
            full, other = (mean_over_seeds([each[seed][0] for seed in seeds]) for each in (whole, fits))
            for row in _differences(full, other):
                yield {"variant": variant, "seeds": len(seeds), **row}


def _alike(full: Mapping[str, str], variant: Mapping[str, str]) -> bool:
    """Whether both were made with the same settings; what is fitted in another way has settings of its own."""
    pairs = ([json.loads(each.get(name) or "{}") for each in (full, variant)] for name in _SETTINGS)
    return all(ours == theirs or ours.keys() != theirs.keys() for ours, theirs in pairs)


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
