"""What a fit and an answer of each system cost, from the footers of its outcome leaves: rows of ``reports.cost``.

The seconds of scoring are those of one pass over all held-out queries. Reading tables, writing prompts and loading the
model are not in them; what the first call of a process warms up is. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from weft.evaluation.tables import Outcome, table_of
from weft.schemas import Costs

_CELL = ["protocol", "profile", "system", "variant", "language_model", "device"]
_FIGURES = ["seconds_fit", "parameters", "seconds_score", "ms_per_query", "ms_per_user"]


def costs_of(outcomes: Iterable[Outcome]) -> pl.DataFrame:
    """Cost per (protocol, system, variant, profile, device): means over seeds (schema ``Costs``).

    An outcome under a pointwise protocol scores one item per query; a ranking scores the catalogue.
    """
    rows = [_cost(outcome) for outcome in outcomes]
    if not rows:
        return table_of(Costs, [])
    single = pl.DataFrame(rows, schema_overrides=dict.fromkeys(_FIGURES, pl.Float64), infer_schema_length=None)
    means = single.group_by(_CELL).agg(
        pl.col(_FIGURES).mean().round(6),
        pl.col("queries", "users").max(),
        seeds=pl.col("seed").n_unique(),
    )
    return Costs.cast(means.select(list(Costs.columns()))).sort("protocol", "profile", "system", "variant", "device")


def _cost(outcome: Outcome) -> dict[str, Any]:
    cell, told = outcome.cell, outcome.attributes
    user, query = pl.col("user").cast(pl.Int64), pl.col("row" if outcome.pointwise else "query")
    unit = pl.when(user > 0).then(user).otherwise(-1 - query)
    queries, users = len(outcome.frame), outcome.frame.select(unit.n_unique()).item()
    seconds = _figure(told, "seconds_score")
    return {
        "protocol": cell.protocol,
        "profile": cell.profile,
        "system": outcome.system,
        "variant": cell.variant,
        "seed": cell.seed,
        "language_model": bool(told.get("language_model")),
        "device": told["device"],
        "seconds_fit": _figure(told, "seconds_fit"),
        "parameters": _figure(told, "parameters"),
        "queries": queries,
        "users": users,
        "seconds_score": seconds,
        "ms_per_query": None if seconds is None or not queries else 1_000 * seconds / queries,
        "ms_per_user": None if seconds is None or not users else 1_000 * seconds / users,
    }


def _figure(told: Mapping[str, str], name: str) -> float | None:
    return float(told[name]) if told.get(name) else None
