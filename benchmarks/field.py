"""The whole field on MovieLens-100K in one run: every model under both kinds of protocol, figures, intervals and cost.

    python -m benchmarks.field --source ml-100k.zip     # 30 to 36 minutes on 2 cores; bound: 40
    python -m benchmarks.field --render                 # puts the kept result into the page

Settings are the defaults and those shipped for the data set; validation picks the epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.judged_pairs import machine, render, weft
from benchmarks.machine import RESULTS, save
from resources.artifacts import ArtifactStore
from weft.cells import Cell

NAME = "field"
DATASET = "ml-100k"
PROTOCOLS = ("leave_one_out", "pointwise_time")
BOUND = 40.0
"""Minutes from the public file to the report, on two cores."""


def run(source: Path, storage: Path) -> float:
    """Runs all of it in an empty storage; returns the minutes that it took.

    Raises:
        SystemExit: If something stands there: a fit that goes on would look faster than it is.
    """
    if storage.exists() and any(storage.iterdir()):
        raise SystemExit(f"{storage} is not empty: name another --storage")
    started = time.monotonic()
    weft("run", "--dataset", DATASET, "--source", source, "--systems", "baselines", "--protocols", ",".join(PROTOCOLS),
         storage=storage)  # fmt: skip
    return round((time.monotonic() - started) / 60, 1)


def told(storage: Path) -> list[dict[str, Any]]:
    """Per protocol and system, best first: figures of the test split with their intervals, and cost."""
    store, data = ArtifactStore(storage), Cell(DATASET)
    board = store.read("reports.leaderboard", data)
    cost = store.read("reports.cost", data).select("protocol", "system", "seconds_fit", "parameters", "ms_per_user")
    figures = ["value", "ci_low", "ci_high", "hr_10", "mrr", "auc", "uauc", "coverage_10"]
    table = board.select("protocol", "place", "system", "metric", "n", *figures).join(
        cost, on=["protocol", "system"], how="left"
    )
    rounded = [pl.col(pl.Float64).round(4), pl.exclude(pl.Float64)]
    return table.sort("protocol", "place").select(*rounded).to_dicts()


def text(result: dict[str, Any]) -> str:
    """The result for the page: a table for each kind of protocol."""
    parts = [f"{DATASET}, seed 0, {result['minutes']} minutes of at most {BOUND:g}, {machine(result)}."]
    for protocol in PROTOCOLS:
        rows = [row for row in result["rows"] if row["protocol"] == protocol]
        ranked = rows[0]["auc"] is None
        others = ("hr_10", "mrr", "coverage_10") if ranked else ("uauc",)
        heads = [f"{rows[0]['metric'].upper()} [95 %]", *others, "s to fit", "parameters", "ms per user"]
        lines = [f"| `{protocol}` | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for row in rows:
            value = f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
            cells = [value, *(f"{row[name]:.3f}" for name in others)]
            cells += [f"{row['seconds_fit']:,.1f}", f"{row['parameters']:,.0f}", f"{row['ms_per_user']:.2f}"]
            lines.append(f"| {row['system']} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    """Measures, prints and keeps; exit status 1 if it took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.environ.get("WEFT_TEST_DATA")
    found = Path(folder) / "ml-100k.zip" if folder else None
    parser.add_argument("--source", type=Path, default=found, help="default: ml-100k.zip where WEFT_TEST_DATA says")
    parser.add_argument("--storage", type=Path, default=Path(__file__).parent / ".storage" / NAME)
    parser.add_argument("--render", action="store_true", help="measure nothing, put the kept result into the page")
    options = parser.parse_args()
    if options.render:
        render(NAME, text(json.loads((RESULTS / f"{NAME}.json").read_text())))
        return
    if options.source is None:
        parser.error("name the zip of MovieLens-100K with --source")
    storage = options.storage.resolve()
    minutes = run(options.source, storage)
    path = save(NAME, {"minutes": minutes, "holds": minutes <= BOUND, "rows": told(storage)})
    result = json.loads(path.read_text())
    print(text(result), f"\n\nkept in {path}")
    sys.exit(0 if result["holds"] else 1)


if __name__ == "__main__":
    main()
