"""What the parts of systems are worth and what systems cost, as rows for people."""

from __future__ import annotations

from typing import Any

import polars as pl

from weft.reporting import labels


def ablations(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """One table per protocol, system and metric of the schema ``Ablations``: a row per variant, a column per slice."""
    if frame.is_empty():
        return []
    keys = ["protocol", "profile", "system", "metric", "k"]
    return [_table(part) for _, part in frame.group_by(keys, maintain_order=True)]


def _table(part: pl.DataFrame) -> dict[str, Any]:
    first = part.row(0, named=True)
    slices = sorted(set(part["slice"]) - {"all"})
    rows = []
    for row in part.filter(slice="all").sort("delta", descending=True).iter_rows(named=True):
        on = {each["slice"]: each for each in part.filter(variant=row["variant"]).iter_rows(named=True)}
        rows.append(
            row
            | {
                "about": labels.variant_about(row["system"], row["variant"]),
                "interval": labels.interval(row["ci_low"], row["ci_high"]),
                "p": labels.chance(row["p"]),
                "verdict": _verdict(row),
                "on": [_difference(on[name]) if name in on else "-" for name in slices],
            }
        )
    return {
        "system": first["system"],
        "protocol": labels.protocol_label(first["protocol"]),
        "profile": first["profile"],
        "metric": labels.metric_label(first["metric"], first["k"]),
        "slices": slices,
        "rows": rows,
    }


def _difference(row: dict[str, Any]) -> str:
    return f"{labels.number(row['delta'])} {labels.interval(row['ci_low'], row['ci_high'])}"


def _verdict(row: dict[str, Any]) -> str:
    if row["ci_low"] > 0:
        return "the whole system is better"
    if row["ci_high"] < 0:
        return f"{row['variant']} is better"
    return "no difference shown"


def costs(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of the schema ``Costs`` with a name; systems whose answers come from a language model last."""
    if frame.is_empty():
        return []
    rows = frame.sort("protocol", "profile", "language_model", "ms_per_query", nulls_last=True).iter_rows(named=True)
    return [
        row
        | {
            "name": labels.row_name(row, frame),
            "protocol": labels.protocol_label(row["protocol"]),
            "parameters": None if row["parameters"] is None else round(row["parameters"]),
        }
        for row in rows
    ]
