r"""Sequential models' training speed beside RecBole's, on LLM4SBR's sessions of MovieLens-1M, as ratios within one run.

    python -m benchmarks.session_speed --source ml-1m.zip

Both learn every prefix of the same sessions at the same width; a step of either has about as many targets (2,048 rows
of RecBole, 128 sessions here); BERT4Rec's targets are the items that it hides. Each figure comes from a process of its
own, and the two take turns. Use an otherwise idle machine; where there is none, ``busy_seconds``, the processor's
time, tells more than the clock on the wall.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import save
from benchmarks.peers import peer_python
from benchmarks.sasrec_speed import measure
from benchmarks.speed import data
from benchmarks.speed.workload import Job
from weft.evaluation.protocols import protocol

NAME = "session_speed"
RULES = "paper_sessions_user_order"
BOUNDS = {"srgnn": 10.0, "narm": 1.0, "stamp": 1.0, "gru4rec": 1.0, "core": 1.0, "bert4rec": 1.0}
TARGETS = {"srgnn": 20.0}
FIGURES = ("seconds", "busy_seconds")


def write(source: Path, table: Path) -> None:
    """The training sessions as the arrays of ``workload.Histories``; a session stands in for a user."""
    made = data.split(source, min_item_events=1, rules=RULES)
    train = protocol(RULES).events(made.table, made.n_users, made.n_items)
    part = np.zeros(len(train), np.int8)
    np.savez(table, user=train.user, item=train.item, part=part, n_items=made.n_items)


def compare(source: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All processes of all repeats, libraries taking turns."""
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "sessions.npz"
        write(source, table)
        for repeat in range(options.repeats):
            for model in options.models:
                for library, python in (("weft", Path(sys.executable)), ("recbole", peer_python("recbole"))):
                    batches = options.batches * (1 if library == "recbole" else 4)
                    job = Job(str(table), folder, options.length, batches=batches, threads=options.threads,
                              seed=repeat, model=model)  # fmt: skip
                    module = f"benchmarks.speed.session_{library}"
                    figures = measure(python, module, job.to_json(), threads=options.threads)
                    runs.append({"repeat": repeat, "model": model, "library": library, **figures})
                    print(runs[-1], flush=True)
    return runs


def verdicts(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per model the medians of both, and how many times as fast ours is."""
    rows = []
    for model in dict.fromkeys(run["model"] for run in runs):
        row: dict[str, Any] = {"model": model, "bound": BOUNDS[model], "target": TARGETS.get(model)}
        for figure in FIGURES:
            ours, theirs = (
                statistics.median(run[figure] for run in runs if (run["model"], run["library"]) == (model, library))
                for library in ("weft", "recbole")
            )
            row |= {f"weft_{figure}": ours, f"recbole_{figure}": theirs, f"ratio_{figure}": theirs / ours}
        rows.append({**row, "holds": row["ratio_seconds"] >= BOUNDS[model]})
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="default: ml-1m.zip in the folder WEFT_TEST_DATA names")
    parser.add_argument("--models", nargs="+", default=[*BOUNDS], choices=BOUNDS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batches", type=int, default=6, help="measured batches of RecBole; of weft 4 times as many")
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default=NAME, help="name of the result file; another one for a trial run")
    return parser.parse_args()


def main() -> None:
    """Measures, prints the table, keeps the result; exit status 1 if a bound does not hold."""
    options = _options()
    folder = os.environ.get("WEFT_TEST_DATA")
    source = options.source or (Path(folder) / "ml-1m.zip" if folder else None)
    if source is None or not source.exists():
        raise SystemExit("the data are missing: give --source, or set WEFT_TEST_DATA to the folder of ml-1m.zip")
    load = os.getloadavg()[0]
    runs = compare(source, options)
    rows = verdicts(runs)
    asked = {"length": options.length, "threads": options.threads, "batches": options.batches}
    path = save(options.name, {"rules": RULES, **asked, "load": load, "verdicts": rows, "runs": runs})
    for row in rows:
        shares = ", ".join(
            f"{row[f'weft_{figure}']:.4f} {figure} per 1,000 targets, RecBole {row[f'recbole_{figure}']:.4f}, "
            f"ratio {row[f'ratio_{figure}']:.1f}"
            for figure in FIGURES
        )
        print(f"{row['model']}: {shares}; at least {row['bound']}: {'holds' if row['holds'] else 'does not hold'}")
    print(f"kept in {path}")
    sys.exit(0 if all(row["holds"] for row in rows) else 1)


if __name__ == "__main__":
    main()
