"""What it is worth that every target counts alike, however many its batch has: fits with and without, on validation.

    python -m benchmarks.batch_weights --source ml-100k.zip --dataset ml-100k     # half an hour on one core
    python -m benchmarks.batch_weights --render                                   # puts the kept results into the page

Without, the mean loss of each batch counts as much as any other's, as in most training loops: since batches are of
histories of similar length, a target in a short history then counts many times as much as one in a long history.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.judged_pairs import render
from benchmarks.machine import RESULTS, describe
from benchmarks.speed.data import split
from weft.data.sequences import Events
from weft.evaluation.protocols import protocol
from weft.models.history import HistoryModel
from weft.models.registry import entry
from weft.models.settings import resolve
from weft.progress import LogProgress
from weft.training import loop
from weft.training.runtime import Runtime

NAME = "batch_weights"
SYSTEMS = ("sasrec", "gru4rec", "core", "cl4srec", "narm", "stamp", "srgnn", "tagnn", "dhcn")


class Evenly:
    """The same batches, of which the fit does not know how many targets they have on average."""

    def __init__(self, batches: loop.Batches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int) -> Iterator[loop.Batch | list[loop.Batch]]:
        """Those of the batches."""
        return self._batches.epoch(number)


def evenly(model: HistoryModel[Any]) -> None:
    """From now on, the model's batches weigh alike."""
    made = model.batches

    def wrapped(train: Events, seed: int) -> Evenly:
        return Evenly(made(train, seed))

    model.batches = wrapped  # type: ignore[method-assign]


def run(dataset: str, source: Path, rules: str, systems: list[str]) -> dict[str, dict[str, Any]]:
    """By system and what counts alike: the best epoch and its NDCG@10 on validation.

    Raises:
        SystemExit: If a system does not learn from histories.
    """
    made = split(source, dataset=dataset, untouched=True, rules=rules)
    task = protocol(rules).task(made.table.filter(split="validation"), "validation", made.n_items)
    events = protocol(rules).events(made.table.filter(split="train"), made.n_users, made.n_items)
    found: dict[str, dict[str, Any]] = {}
    for system in systems:
        kind = entry(system)
        found[system] = {}
        for name in ("batches", "targets"):
            model = kind.build(resolve(kind.settings, system, dataset, {}, rules))
            if not isinstance(model, HistoryModel):
                raise SystemExit(f"{system} does not learn from histories")
            if name == "batches":
                evenly(model)
            history = model.fit(events, task, Runtime(device="cpu", threads=1, progress=LogProgress(print)))
            best = history.filter("best").row(0, named=True)
            found[system][name] = {"ndcg10": round(best["validation"], 4), "epoch": best["epoch"]}
            print(system, name, found[system][name], flush=True)
    return found


def text(kept: Mapping[str, Any]) -> str:
    """The kept results for the page."""
    lines = ["| validation NDCG@10 (epoch) | batches count alike | targets count alike |", "|---|---|---|"]
    for case, found in kept.items():
        for system, by in found["systems"].items():
            told = [f"{by[name]['ndcg10']:.4f} ({by[name]['epoch']})" for name in ("batches", "targets")]
            lines.append(f"| {case}: {system} | {told[0]} | {told[1]} |")
    return "\n".join(lines)


def main() -> None:
    """Fits both and keeps what they reach, beside what was kept of other data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="the data set's public file")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--protocol", default="leave_one_out")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--render", action="store_true", help="fit nothing, put the kept results into the page")
    options = parser.parse_args()
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    if not options.render:
        if options.source is None:
            parser.error("name the file of the data set with --source")
        found = run(options.dataset, options.source, options.protocol, options.systems.split(","))
        kept[f"{options.dataset}, `{options.protocol}`"] = {"machine": describe(), "systems": found}
        path.write_text(json.dumps(kept, indent=1) + "\n")
    render(NAME, text(kept))
    print(text(kept))


if __name__ == "__main__":
    main()
