"""What it is worth that every target counts alike, however many its batch has: fits with and without, on validation.

python -m benchmarks.batch_weights --source ml-100k.zip --dataset ml-100k --protocol leave_one_out

Without, the mean loss of each batch counts as much as any other's, as in most training loops: since batches are of
histories of similar length, a target in a short history then counts many times as much as one in a long history.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, save
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
SYSTEMS = ("gru4rec", "sasrec")


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


def main() -> None:
    """Fits both and keeps what they reach, beside what was kept of other data sets."""
    parser = argparse.ArgumentParser(description="the same fits, with targets that count alike and batches that do")
    parser.add_argument("--source", type=Path, required=True, help="the data set's public file")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    options = parser.parse_args()
    rules = protocol(options.protocol)
    made = split(options.source, dataset=options.dataset, untouched=True, rules=options.protocol)
    task = rules.task(made.table.filter(split="validation"), "validation", made.n_items)
    events = rules.events(made.table.filter(split="train"), made.n_users, made.n_items)
    found: dict[str, dict[str, Any]] = {}
    for system in options.systems.split(","):
        kind = entry(system)
        found[system] = {}
        for name in ("targets", "batches"):
            model = kind.build(resolve(kind.settings, system, options.dataset, {}, options.protocol))
            if not isinstance(model, HistoryModel):
                parser.error(f"{system} does not learn from histories")
            if name == "batches":
                evenly(model)
            history = model.fit(events, task, Runtime(device="cpu", threads=1, progress=LogProgress(print)))
            best = history.filter("best").row(0, named=True)
            found[system][name] = {"ndcg10": best["validation"], "epoch": best["epoch"], "epochs": len(history)}
    print(json.dumps(found, indent=1))
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text())["found"] if path.exists() else {}
    kept[f"{options.dataset}, {options.protocol}"] = found
    print(f"kept in {save(NAME, {'split': 'validation', 'found': kept})}")


if __name__ == "__main__":
    main()
