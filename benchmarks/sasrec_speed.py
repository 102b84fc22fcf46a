r"""SASRec's speed beside RecTools, RePlay and RecBole, as ratios within one run.

    python -m benchmarks.sasrec_speed --source ml-1m.zip --time-to-015
    python -m benchmarks.sasrec_speed --dataset amazon-beauty-sequences --source amazon-beauty --lengths 50 \
      --peers rectools

Every figure comes from a process of its own, in the library's own environment; libraries take turns within a repeat,
so that a slow minute of the machine hits all of them. Use an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, save
from benchmarks.peers import peer_python
from benchmarks.speed import data
from benchmarks.speed.verdict import OURS, PEERS, markdown, medians, verdicts
from benchmarks.speed.workload import Job

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
NAME = "sasrec_speed"
GOAL = 0.15
# A row per prefix: at length 200 RecBole would hold 4 times as much in memory, and no bound asks for it.
_LENGTHS = {"recbole": (50,)}


def measure(python: Path, module: str, *arguments: str, threads: int) -> dict[str, Any]:
    """Runs one module and reads the JSON line that it prints last.

    Raises:
        SystemExit: If the process fails, with the end of what it said.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }
    command = [str(python), "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"{module} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-3000:]}")
    return json.loads(lines[-1])


def compare(source: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All processes of all repeats, libraries taking turns."""
    interpreters = {OURS: Path(sys.executable)} | {peer: peer_python(peer) for peer in options.peers}
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "histories.npz"
        data.write(data.split(source, min_item_events=1, dataset=options.dataset), table)
        for repeat in range(options.repeats):
            for length in options.lengths:
                for library, python in interpreters.items():
                    if length not in _LENGTHS.get(library, (length,)):
                        continue
                    job = Job(str(table), folder, length, batches=options.batches, threads=options.threads, seed=repeat)
                    module = f"benchmarks.speed.run_{library}"
                    figures = measure(python, module, job.to_json(), threads=options.threads)
                    runs.append({"repeat": repeat, "length": length, "library": library, **figures})
                    print(
                        f"repeat {repeat + 1}, length {length}, {library}: {figures['train_per_second']:,.0f} "
                        f"positions/s, {figures['users_per_second']:,.0f} users/s, {figures['peak_mb']:,.0f} MB",
                        flush=True,
                    )
    return runs


def name_of(dataset: str) -> str:
    """Name of the result file and of its marks in the page."""
    return NAME if dataset == "ml-1m" else f"{NAME}_{dataset.replace('-', '_')}"


def render(result: dict[str, Any], page: Path = PAGE) -> None:
    """Writes the result between its two marks in ``page``."""
    name = name_of(result["dataset"])
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text().split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n\n{markdown(result)}\n\n{end}{after}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-1m", help="a built-in data set")
    parser.add_argument("--source", type=Path, help="its files; default: ml-1m.zip in the folder WEFT_TEST_DATA names")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lengths", type=int, nargs="+", default=[200, 50])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--batches", type=int, default=8, help="measured batches per peer; weft: one whole epoch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--time-to-015", action="store_true", help=f"also fit to validation NDCG@10 of {GOAL}")
    parser.add_argument("--name", help="name of the result file; another one for a trial run")
    parser.add_argument("--render", action="store_true", help="measure nothing, put the kept result into the page")
    return parser.parse_args()


def main() -> None:
    """Measures, prints the table, keeps the result; exit status 1 if a bound does not hold."""
    options = _options()
    name = options.name or name_of(options.dataset)
    if options.render:
        render(json.loads((RESULTS / f"{name}.json").read_text()))
        return
    folder = os.environ.get("WEFT_TEST_DATA")
    source = options.source or (Path(folder) / "ml-1m.zip" if folder else None)
    if source is None or not source.exists():
        raise SystemExit("the data are missing: give --source, or set WEFT_TEST_DATA to the folder of ml-1m.zip")
    load = os.getloadavg()[0]
    runs = compare(source, options)
    result: dict[str, Any] = {
        "dataset": options.dataset,
        "threads": options.threads,
        "repeats": options.repeats,
        "batches": options.batches,
        "load": load,
        "verdicts": verdicts(runs, options.dataset),
        "medians": medians(runs),
        "runs": runs,
    }
    if options.time_to_015:
        arguments = (str(source.resolve()), str(GOAL), str(options.threads))
        result["time_to"] = measure(
            Path(sys.executable), "benchmarks.speed.time_to", *arguments, threads=options.threads
        )
    path = save(name, result)
    print(markdown(json.loads(path.read_text())))
    print(f"kept in {path}")
    sys.exit(0 if all(row["holds"] for row in result["verdicts"]) else 1)


if __name__ == "__main__":
    main()
