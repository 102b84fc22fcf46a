"""From the figures of all processes to medians, ratios and verdicts. Measures nothing, imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS = "weft"
PEERS = ("rectools", "replay", "recbole")
FASTEST = "fastest peer"

TRAINING = "train_per_second"
ANSWERS = "users_per_second"
TITLES = {TRAINING: "training positions/s", ANSWERS: "top-10 users/s"}


@dataclass(frozen=True)
class Bound:
    """What must hold: our figure divided by the peer's, at one length of one data set."""

    figure: str
    length: int
    peer: str
    least: float
    target: float | None = None
    dataset: str = "ml-1m"


BOUNDS = (
    Bound(TRAINING, 200, "rectools", 7.0, 10.0),
    Bound(TRAINING, 200, "replay", 3.5, 5.0),
    Bound(TRAINING, 50, "rectools", 3.5),
    Bound(TRAINING, 50, "replay", 2.2),
    Bound(TRAINING, 50, "recbole", 30.0),
    Bound(ANSWERS, 50, FASTEST, 1.25, 1.5),
    Bound(ANSWERS, 200, "replay", 2.0),
    Bound(TRAINING, 50, "rectools", 3.0, dataset="amazon-beauty-sequences"),
)
MATMUL_TARGET = 0.75

Medians = dict[str, dict[str, dict[str, float]]]


def medians(runs: Sequence[Mapping[str, Any]]) -> Medians:
    """``[length][library][figure]``: the median over the repeats of every number measured.

    Args:
        runs: One per process: ``library``, ``length``, ``repeat`` and the figures that it printed.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault((str(run["length"]), run["library"]), []).append(run)
    result: Medians = {}
    for (length, library), group in groups.items():
        names = [name for name, value in group[0].items() if isinstance(value, float)]
        middle = {name: statistics.median(run[name] for run in group) for name in names}
        result.setdefault(length, {})[library] = middle
    return result


def verdicts(runs: Sequence[Mapping[str, Any]], dataset: str = "ml-1m") -> list[dict[str, Any]]:
    """One row per bound of the data set: ratio of the medians, span of the ratios of single repeats, whether it holds.

    A bound whose figures were not measured has None for all three. The fastest peer counts only when all
    three were measured.
    """
    middle = medians(runs)
    rows = []
    for bound in (each for each in BOUNDS if each.dataset == dataset):
        at = middle.get(str(bound.length), {})
        peer = _peer(bound, at)
        row: dict[str, Any] = {
            "figure": bound.figure,
            "length": bound.length,
            "peer": bound.peer,
            "least": bound.least,
            "target": bound.target,
            "ratio": None,
            "span": None,
            "holds": None,
        }
        if peer is not None and OURS in at:
            ratio = at[OURS][bound.figure] / at[peer][bound.figure]
            named = f"{FASTEST} ({peer})" if bound.peer == FASTEST else peer
            row |= {"peer": named, "ratio": ratio, "span": _span(runs, bound, peer), "holds": ratio >= bound.least}
        rows.append(row)
    return rows


def _peer(bound: Bound, at: Mapping[str, Mapping[str, float]]) -> str | None:
    """The library that a bound is against, if it was measured."""
    if bound.peer != FASTEST:
        return bound.peer if bound.peer in at else None
    if any(peer not in at for peer in PEERS):
        return None
    return max(PEERS, key=lambda peer: at[peer][bound.figure])


def _span(runs: Sequence[Mapping[str, Any]], bound: Bound, peer: str) -> list[float]:
    """Lowest and highest ratio within one repeat."""
    by_repeat: dict[int, dict[str, float]] = {}
    for run in runs:
        if run["length"] == bound.length:
            by_repeat.setdefault(run["repeat"], {})[run["library"]] = run[bound.figure]
    ratios = [each[OURS] / each[peer] for each in by_repeat.values() if OURS in each and peer in each]
    return [min(ratios), max(ratios)]


def markdown(result: Mapping[str, Any]) -> str:
    """The result file as the section of ``docs/benchmarks.md``: machine, ratios, figures."""
    machine = result["machine"]
    setting = (
        f"Data set `{result['dataset']}`, commit `{machine['commit']}`, "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{result['threads']} threads, medians of {result['repeats']} repeats, "
        f"{result['batches']} batches per peer, load average at the start "
        f"{result['load']:.1f}."
    )
    lines = [setting, "", *_ratios(result["verdicts"]), "", *_figures(result["medians"])]
    if reached := result.get("time_to"):
        state = "reached" if reached["reached"] else "not reached"
        sentence = (
            f"Validation NDCG@10 of {reached['goal']} with the shipped settings: {state} after "
            f"{reached['minutes']} minutes ({reached['epoch']} epochs, peak {reached['peak_mb']:,} MB)."
        )
        lines += ["", sentence]
    return "\n".join(lines)


def _ratios(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| figure | length | against | ratio | span | bound | target | holds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio, span = "not measured", "-"
        if row["ratio"] is not None:
            ratio, span = f"{row['ratio']:.2f}", f"{row['span'][0]:.2f} to {row['span'][1]:.2f}"
        target = "-" if row["target"] is None else f"{row['target']:g}"
        holds = {True: "yes", False: "no", None: "-"}[row["holds"]]
        lines.append(
            f"| {TITLES[row['figure']]} | {row['length']} | {row['peer']} | {ratio} | {span} | {row['least']:g} "
            f"| {target} | {holds} |"
        )
    return lines


def _figures(middle: Medians) -> list[str]:
    lines = [
        "| length | library | training positions/s | top-10 users/s | peak MB | share of matmul rate |",
        "|---|---|---|---|---|---|",
    ]
    for length, libraries in sorted(middle.items(), key=lambda pair: int(pair[0])):
        for library, figures in libraries.items():
            share = figures.get("matmul_share")
            shown = "-" if share is None else f"{share:.0%} (target {MATMUL_TARGET:.0%})"
            lines.append(
                f"| {length} | {library} | {figures[TRAINING]:,.0f} | {figures[ANSWERS]:,.0f} "
                f"| {figures['peak_mb']:,.0f} | {shown} |"
            )
    return lines
