"""Quality of models on public data as a user would run them: raw files to leaderboard, settings chosen on validation.

Each case is a small module (``quality_ml1m.py`` and its like). Stopped in the middle, a run goes on from the last
finished epoch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from benchmarks.machine import save

Figure = tuple[str, int | None]
"""Metric and k."""


@dataclass(frozen=True)
class Case:
    """One data set under one protocol.

    Attributes:
        name: Of the result file.
        dataset: A built-in data set.
        protocol: What is asked.
        bounds: What each test figure of a system must at least be, over all queries. One with no bound is only told.
        beside: What is run beside them, without a bound.
        targets: What a system's first figure would better be.
    """

    name: str
    dataset: str
    protocol: str
    bounds: Mapping[str, Mapping[Figure, float]]
    beside: tuple[str, ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)

    @property
    def figures(self) -> list[Figure]:
        """Every figure that some system has a bound for."""
        return sorted({figure for bounds in self.bounds.values() for figure in bounds}, key=str)

    def result(self, seed: str) -> str:
        """Name of the result file of one seed."""
        return self.name if seed == "0" else f"{self.name}_seed{seed}"


WEFT = [str(Path(sys.executable).parent / "weft")]


def run(case: Case, source: Path | None, storage: Path, seed: str) -> float:
    """Runs the case through the command line; returns the minutes that it took."""
    start = time.perf_counter()
    files = [] if source is None else ["--source", str(source)]
    subprocess.run(
        [*WEFT, "run", "--dataset", case.dataset, *files, "--systems", ",".join([*case.beside, *case.bounds]),
         "--protocols", case.protocol, "--seeds", seed, "--storage", str(storage)],
        check=True,
    )  # fmt: skip
    return round((time.perf_counter() - start) / 60, 1)


def told(case: Case, storage: Path, seed: str) -> dict[str, Any]:
    """The case's figures and fits, as the artifacts of its run have them."""
    rows = _figures(case, storage, seed)
    found = {
        (row["system"], row["metric"], row["k"]): row for row in rows if (row["split"], row["slice"]) == ("test", "all")
    }
    figures = {
        f"{system} {_label(figure)}": _judged(found[system, *figure], bounds.get(figure))
        for system, bounds in case.bounds.items()
        for figure in case.figures
    }
    return {
        "case": case.name,
        "seed": int(seed),
        "figures": figures,
        "targets": dict(case.targets),
        "holds": all(figure["holds"] for figure in figures.values()),
        "fits": {system: _fit(case, system, storage, seed) for system in case.bounds},
        "metrics": rows,
    }


def _judged(row: Mapping[str, Any], bound: float | None) -> dict[str, Any]:
    """A figure with its interval beside its bound."""
    holds = bound is None or row["value"] >= bound
    return {"value": row["value"], "ci": [row["ci_low"], row["ci_high"]], "bound": bound, "holds": holds}


def _figures(case: Case, storage: Path, seed: str) -> list[dict[str, Any]]:
    """The headline figures of every system, split and slice."""
    wanted = " or ".join(
        f"metric = '{metric}' and k {'is null' if k is None else f'= {k}'}" for metric, k in case.figures
    )
    question = f"""
        select system, split, slice, metric, k, value, ci_low, ci_high, n, tie_share from reports.metrics
        where dataset = '{case.dataset}' and protocol = '{case.protocol}' and seed = {int(seed)} and ({wanted})
        order by system, split, slice, metric
    """  # noqa: S608  # made of the case's own words
    answer = subprocess.run(
        [*WEFT, "query", question, "--storage", storage, "--format", "json"], check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def _fit(case: Case, system: str, storage: Path, seed: str) -> dict[str, Any]:
    """What the footer and the history of the fit say: epochs, seconds, memory, size."""
    cell = f"dataset={case.dataset}/protocol={case.protocol}/profile=offline/variant=full/seed={seed}/data.parquet"
    leaf, history = (storage / "behaviour" / name / cell for name in (system, f"{system}_history"))
    entries = pq.read_metadata(leaf).metadata.items()
    footer = {name.decode().removeprefix("weft."): value.decode() for name, value in entries}
    epochs = pl.read_parquet(history)
    told = ("seconds_fit", "peak_mb", "parameters", "settings", "device")
    best = epochs.filter("best")["epoch"].max()
    return {"epochs": len(epochs), "best_epoch": best, **{name: footer.get(name) for name in told}}


def _label(figure: Figure) -> str:
    metric, k = figure
    return metric if k is None else f"{metric}@{k}"


def main(case: Case) -> None:
    """The command line of a case; exit status 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=f"{', '.join(case.bounds)} on {case.dataset} under {case.protocol}")
    parser.add_argument("--source", type=Path, help="the public files of the data set, where it was not added before")
    parser.add_argument("--storage", type=Path, default=Path(__file__).parent / ".storage")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--tell", action="store_true", help="only tell what a run has left in the storage")
    options = parser.parse_args()
    storage = options.storage.resolve()
    took = None if options.tell else run(case, options.source, storage, options.seed)
    result = {**told(case, storage, options.seed), "minutes_of_this_run": took}
    path = save(case.result(options.seed), result)
    print(json.dumps({key: result[key] for key in result if key != "metrics"}, indent=1))
    print(f"kept in {path}")
    sys.exit(0 if result["holds"] else 1)
