"""How names and numbers are written for people, the same in the terminal and on the page."""

from __future__ import annotations

import math

import polars as pl

from weft.evaluation.protocols import PROTOCOLS
from weft.models.registry import MODELS
from weft.systems.registry import FULL, SYSTEMS

BOUNDS = {
    "oracle": "The planted truth of a simulated data set: what nobody can beat",
    "ceiling": "A plain model on the true attributes of a simulated data set: what can be learnt",
}
"""Systems that are no competitors, with what they are."""

_METRICS = {"hr": "HR", "ndcg": "NDCG", "mrr": "MRR", "auc": "AUC", "uauc": "UAUC"}

FIGURES = {
    "hr_10": "HR@10",
    "ndcg_10": "NDCG@10",
    "mrr": "MRR",
    "auc": "AUC",
    "uauc": "UAUC",
    "coverage_10": "Coverage@10",
}
"""Columns of the leaderboard that hold figures, and their headings."""


def protocol_label(name: str) -> str:
    """The name as people are shown it: a negative control says that it is one."""
    rule = PROTOCOLS.get(name)
    return f"{name} (negative control: {rule.control})" if rule is not None and rule.control else name


def metric_label(metric: str, k: int | None = None) -> str:
    """``ndcg`` at 10, ``ndcg@10`` and ``ndcg_10`` are all written NDCG@10."""
    name, _, cut = metric.replace("_", "@").partition("@")
    cut = cut or ("" if k is None else str(k))
    return _METRICS.get(name, name.capitalize()) + (f"@{cut}" if cut else "")


def system_title(system: str, variant: str = FULL) -> str:
    """What a system, or a variant of it, is, in one line; empty for one that is not registered."""
    if system in SYSTEMS:
        return SYSTEMS[system].title if variant == FULL else variant_about(system, variant)
    return MODELS[system].title if system in MODELS else BOUNDS.get(system, "")


def variant_about(system: str, variant: str) -> str:
    """What a variant leaves out or replaces; empty for one that is not registered."""
    known = SYSTEMS[system].variants if system in SYSTEMS else {}
    return known[variant].about if variant in known else ""


def chance(p: float) -> str:
    """A p value to three places."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: object) -> str:
    """Counts with separators, figures to four places, small ones to two digits; a hyphen for what is not known."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        places = ",.1f" if abs(value) >= 10 else ".4f" if value == 0 or abs(value) >= 1e-4 else ".1e"
        return format(value, places)
    return f"{value:,}" if isinstance(value, int) else str(value)


def interval(low: float | None, high: float | None) -> str:
    """``[0.1234, 0.1345]``; empty without an interval."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def row_name(row: dict, table: pl.DataFrame) -> str:
    """The system, with its variant unless that is the whole system, and the profile where ``table`` has several."""
    extras = [row["variant"]] if row["variant"] != FULL else []
    extras += [row["profile"]] if table["profile"].n_unique() > 1 else []
    return " · ".join([row["system"], *extras])


def shown_figures(leaderboard: pl.DataFrame) -> dict[str, str]:
    """Columns to show beside the headline metric, with headings: those with any value, the headline left out."""
    headline = {metric_label(metric) for metric in leaderboard["metric"]}
    return {
        column: heading
        for column, heading in FIGURES.items()
        if leaderboard[column].is_not_null().any() and heading not in headline
    }
