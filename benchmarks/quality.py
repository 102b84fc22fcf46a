"""Quality of SASRec on public data as a user would run it: raw files to leaderboard, settings chosen on validation.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from benchmarks.machine import save

SYSTEM = "sasrec"
Figure = tuple[str, int | None]
"""Metric and k."""


@dataclass(frozen=True)
class Case:
    """One data set under one protocol.

    Attributes:
        name: Of the result file.
        dataset: A built-in data set.
        protocol: What is asked.
        systems: What is run beside SASRec.
        bounds: What each test figure of SASRec must at least be, over all queries.
        target: What the first of them would better be.
    """

    name: str
    dataset: str
    protocol: str
    systems: tuple[str, ...]
    bounds: Mapping[Figure, float]
    target: float | None = None

    def result(self, seed: str) -> str:
        """Name of the result file of one seed."""
        return self.name if seed == "0" else f"{self.name}_seed{seed}"


def run(case: Case, source: Path, storage: Path, seed: str) -> dict[str, Any]:
    """Runs the case through the command line and reads its figures back from the artifacts."""
    weft = [str(Path(sys.executable).parent / "weft")]
    start = time.perf_counter()
    subprocess.run(
        [*weft, "run", "--dataset", case.dataset, "--source", source, "--systems", ",".join([*case.systems, SYSTEM]),
         "--protocols", case.protocol, "--seeds", seed, "--storage", storage],
        check=True,
    )  # fmt: skip
    minutes = (time.perf_counter() - start) / 60
    rows = _figures(case, weft, storage, seed)
    found = {(row["metric"], row["k"]): row for row in rows if _is_headline(row)}
    fit = _fit(case, storage, seed)
    return {
        "case": case.name,
        "seed": int(seed),
        "figures": {
            _label(figure): {
                "value": found[figure]["value"],
                "ci": [found[figure]["ci_low"], found[figure]["ci_high"]],
                "bound": bound,
                "holds": found[figure]["value"] >= bound,
            }
            for figure, bound in case.bounds.items()
        },
        "target": case.target,
        "holds": all(found[figure]["value"] >= bound for figure, bound in case.bounds.items()),
        "minutes_of_this_run": round(minutes, 1),
        **fit,
        "metrics": rows,
    }


def _figures(case: Case, weft: list[str], storage: Path, seed: str) -> list[dict[str, Any]]:
    """The headline figures of every system, split and slice."""
    wanted = " or ".join(
        f"metric = '{metric}' and k {'is null' if k is None else f'= {k}'}" for metric, k in case.bounds
    )
    question = f"""
        select system, split, slice, metric, k, value, ci_low, ci_high, n, tie_share from reports.metrics
        where dataset = '{case.dataset}' and protocol = '{case.protocol}' and seed = {int(seed)} and ({wanted})
        order by system, split, slice, metric
    """  # noqa: S608  # made of the case's own words
    answer = subprocess.run(
        [*weft, "query", question, "--storage", storage, "--format", "json"], check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def _is_headline(row: Mapping[str, Any]) -> bool:
    return (row["system"], row["split"], row["slice"]) == (SYSTEM, "test", "all")


def _fit(case: Case, storage: Path, seed: str) -> dict[str, Any]:
    """What the footer and the history of the fit say: epochs, seconds, memory, size."""
    cell = f"dataset={case.dataset}/protocol={case.protocol}/profile=offline/variant=full/seed={seed}/data.parquet"
    leaf, history = (storage / "behaviour" / name / cell for name in (SYSTEM, f"{SYSTEM}_history"))
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
    parser = argparse.ArgumentParser(description=f"SASRec on {case.dataset} under {case.protocol}")
    parser.add_argument("--source", type=Path, required=True, help="the public files of the data set")
    parser.add_argument("--storage", type=Path, default=Path(__file__).parent / ".storage")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    result = run(case, options.source, options.storage.resolve(), options.seed)
    path = save(case.result(options.seed), result)
    print(json.dumps({key: result[key] for key in result if key != "metrics"}, indent=1))
    print(f"kept in {path}")
    sys.exit(0 if result["holds"] else 1)
