"""A log of 20 million rows from file to split artifacts: seconds and memory beside pandas, for CSV and Parquet.

    python -m benchmarks.scale --keep     # 20 M rows; --rows 5000000 for a quick look

The files are generated (``ingest/scale_data.py``) and removed at the end. Each figure comes from a process of its own,
libraries taking turns; the clock starts after the imports, peak memory is that of the whole process. Both take the
same steps to the same tables and must count the same rows. Use an otherwise idle machine with 8 GiB free.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ingest.scale_data import generate
from benchmarks.machine import save
from benchmarks.sasrec_speed import measure

MOST_GIB = 4.0
MOST_OF_PANDAS_MEMORY = 0.5
LEAST_TIMES_PANDAS = {"csv": 2.0, "parquet": 1.0}

MODULES = {"weft": "benchmarks.ingest.scale_weft", "pandas": "benchmarks.ingest.scale_pandas"}
COUNTS = ("rows", "test", "users", "items")


def compare(source: Path, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Figures of both libraries on one file, in turns."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in MODULES}
    for repeat in range(repeats):
        for name, module in MODULES.items():
            with tempfile.TemporaryDirectory(dir=source.parent) as folder:
                threads = os.cpu_count() or 1
                figures = measure(Path(sys.executable), module, str(source), f"{folder}/out", threads=threads)
            found[name].append(figures)
            print(
                f"{source.suffix[1:]:8s} repeat {repeat + 1}: {name:7s} {figures['seconds']:7.2f} s, "
                f"{figures['cpu_seconds']:7.2f} CPU s, {figures['peak_mb']:6,.0f} MB",
                flush=True,
            )
        counted = [tuple(found[name][-1][key] for key in COUNTS) for name in MODULES]
        if len(set(counted)) > 1:
            raise SystemExit(f"the libraries disagree on {COUNTS}: {dict(zip(MODULES, counted, strict=True))}")
    return found


def judge(kind: str, rows: int, found: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, bool]]:
    """Medians with ratios inside a repeat, so that a slow minute of the machine hits both sides; and the verdicts."""
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "cpu_seconds", "peak_mb")}
        for name, runs in found.items()
    }
    pairs = list(zip(found["weft"], found["pandas"], strict=True))
    faster = statistics.median(theirs["seconds"] / ours["seconds"] for ours, theirs in pairs)
    memory = statistics.median(ours["peak_mb"] / theirs["peak_mb"] for ours, theirs in pairs)
    for name, figures in medians.items():
        figures["rows_per_second"] = rows / figures["seconds"]
        print(f"{kind:8s} {name:7s} {figures['rows_per_second']:12,.0f} rows/s {figures['peak_mb']:8,.0f} MB")
    print(f"{kind:8s} weft is {faster:.2f} times as fast as pandas in {memory:.2f} of its memory")
    least = LEAST_TIMES_PANDAS[kind]
    verdicts = {
        f"{kind}: at least {least:g} times as fast as pandas": faster >= least,
        f"{kind}: at most {MOST_OF_PANDAS_MEMORY:g} of the memory of pandas": memory <= MOST_OF_PANDAS_MEMORY,
        f"{kind}: under {MOST_GIB:g} GiB": max(run["peak_mb"] for run in found["weft"]) < MOST_GIB * 1024,
    }
    return {"medians": medians, "times_as_fast": faster, "share_of_memory": memory, "runs": found}, verdicts


def main() -> None:
    """Measures, keeps the result, exits with 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kinds", default="csv,parquet")
    parser.add_argument("--keep", action="store_true", help="keep the result under benchmarks/results")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    verdicts: dict[str, bool] = {}
    for kind in options.kinds.split(","):
        with tempfile.TemporaryDirectory(prefix="weft-scale-") as folder:
            source = Path(folder) / f"log.{kind}"
            generate(source, options.rows)
            found = compare(source, options.repeats)
        results[kind], held = judge(kind, options.rows, found)
        verdicts |= held
    for bound, held in verdicts.items():
        print(f"{'ok  ' if held else 'MISS'} {bound}")
    if options.keep:
        print(f"kept in {save('scale', {'rows': options.rows, 'verdicts': verdicts, **results}).name}")
    if not all(verdicts.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
