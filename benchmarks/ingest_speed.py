"""Raw MovieLens-1M to cleaned, split artifacts: weft beside pandas and RecBole, as ratios within one run.

    python -m benchmarks.ingest_speed --source ml-1m.zip

Each figure comes from a process of its own, libraries taking turns; the clock starts after the imports. Use an
otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import save
from benchmarks.peers import peer_python
from benchmarks.sasrec_speed import measure

MOST_OF_PANDAS = 1.5
LEAST_OF_RECBOLE = 15.0


def runs(source: Path, repeats: int, recbole_repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Figures of every library and repeat, in turns."""
    here = Path(sys.executable)
    plans = {
        "weft": (here, "benchmarks.ingest.run_weft", []),
        "pandas lean": (here, "benchmarks.ingest.run_pandas", ["lean"]),
        "pandas full": (here, "benchmarks.ingest.run_pandas", ["full"]),
        "recbole": (peer_python("recbole"), "benchmarks.ingest.run_recbole", []),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in plans}
    for repeat in range(repeats):
        for name, (python, module, more) in plans.items():
            if name == "recbole" and repeat >= recbole_repeats:
                continue
            with tempfile.TemporaryDirectory() as folder:
                figures = measure(python, module, str(source), f"{folder}/out", *more, threads=os.cpu_count() or 1)
            found[name].append(figures)
            print(
                f"repeat {repeat + 1}: {name:12s} {figures['seconds']:7.3f} s, {figures['cpu_seconds']:7.3f} CPU s, "
                f"{figures['peak_mb']:6,.0f} MB",
                flush=True,
            )
    return found


def main() -> None:
    """Measures, prints a table, keeps the result; exit status 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("WEFT_TEST_DATA", ".")
    parser.add_argument("--source", type=Path, default=Path(data) / "ml-1m.zip", help="ml-1m.zip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recbole-repeats", type=int, default=3)
    options = parser.parse_args()
    found = runs(options.source.absolute(), options.repeats, options.recbole_repeats)
    medians = {
        name: {key: statistics.median(run[key] for run in each) for key in ("seconds", "cpu_seconds", "peak_mb")}
        for name, each in found.items()
    }
    # Ratios inside a repeat, so that a slow minute of the machine hits both sides.
    ratios = {
        name: statistics.median(
            theirs["seconds"] / ours["seconds"] for theirs, ours in zip(found[name], found["weft"], strict=False)
        )
        for name in found
    }
    print(f"\n{'':14s}{'seconds':>9s}{'CPU s':>9s}{'peak MB':>9s}{'times weft':>12s}")
    for name, figures in medians.items():
        print(
            f"{name:14s}{figures['seconds']:9.3f}{figures['cpu_seconds']:9.3f}{figures['peak_mb']:9,.0f}"
            f"{ratios[name]:12.2f}"
        )
    verdicts = {
        f"weft takes at most {MOST_OF_PANDAS} times lean pandas": 1 / ratios["pandas lean"] <= MOST_OF_PANDAS,
        f"weft is at least {LEAST_OF_RECBOLE:g} times as fast as RecBole": ratios["recbole"] >= LEAST_OF_RECBOLE,
    }
    for bound, held in verdicts.items():
        print(f"{'ok  ' if held else 'MISS'} {bound}")
    path = save("ingest_speed", {"medians": medians, "times_weft": ratios, "verdicts": verdicts, "runs": found})
    print(f"kept in {path.name}")
    if not all(verdicts.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
