"""What a session model reaches if each training session teaches its last click alone, as LLM4SBR's counts say.

python -m benchmarks.last_click --source ml-1m.zip

LLM4SBR (arXiv:2402.13840, table 2) has 47,808 training sessions of MovieLens-1M, of one target each; weft's models
learn what follows every click. GRU4Rec, fitted both ways with the same settings; validation alone is looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import save
from benchmarks.own_items import measure
from benchmarks.speed.data import split
from weft.data.sequences import Events
from weft.evaluation.protocols import protocol
from weft.evaluation.ranking import rank
from weft.models.gru4rec import GRU4Rec
from weft.models.settings import GRU4RecSettings, resolve
from weft.progress import LogProgress
from weft.training.batches import HistoryBatches, of_similar_length
from weft.training.runtime import Runtime

RULES = "paper_sessions_user_order"


class LastClicks(HistoryBatches):
    """Batches of whole histories, drawn at random as in the papers' code, of which only the last target is left."""

    @property
    def targets(self) -> int:
        """One of each history that has any."""
        return len(self._kept)

    def epoch(self, number: int) -> Iterator[tuple[tuple[Tensor, Tensor], int]]:
        """Every history once; equal for an equal number."""
        rng = np.random.default_rng([self._seed, number])
        # A pool of one batch: what stands in a batch together is drawn without regard to length.
        for rows in of_similar_length(self._kept, self._batch, 1, rng):
            inputs, targets = self._padded(rows)
            each, end = torch.arange(len(targets)), (targets > 0).sum(1) - 1
            last = torch.zeros_like(targets)
            last[each, end] = targets[each, end]
            yield (inputs, last), len(targets)


class GRU4RecOfLastClicks(GRU4Rec):
    """Learns what ended each session."""

    def batches(self, train: Events, seed: int) -> LastClicks:
        """A target per session."""
        return LastClicks(train.item, train.offsets, self.settings.length, self.settings.batch, seed)


def main() -> None:
    """Fits both and keeps what they reach."""
    parser = argparse.ArgumentParser(description="GRU4Rec on LLM4SBR's sessions, taught by every click or the last one")
    parser.add_argument("--source", type=Path, required=True, help="ml-1m.zip")
    source = parser.parse_args().source
    made, rules = split(source, min_item_events=0, rules=RULES), protocol(RULES)
    seen = made.table.filter(split="train")
    task = rules.task(made.table.filter(split="validation"), "validation", made.n_items)
    events = rules.events(seen, made.n_users, made.n_items)
    found: dict[str, Any] = {}
    for name, kind in {"every click": GRU4Rec, "last click": GRU4RecOfLastClicks}.items():
        # Sixteen times fewer targets: more epochs, which patience ends.
        settings = resolve(GRU4RecSettings, "gru4rec", "ml-1m", {"epochs": 40}, RULES)
        model = kind(settings)
        history = model.fit(events, task, Runtime(device="cpu", threads=1, progress=LogProgress(print)))
        # Marks for slices that are not told here.
        seen_in_training, tied_time = np.zeros(made.n_items + 1, bool), np.zeros(len(task.queries), bool)
        table = rank(model.score, task, system=name, seen_in_training=seen_in_training, tied_time=tied_time)
        figures = measure(table, task.queries)
        found[name] = {"p": figures["p"], "mrr": figures["mrr"], "epochs": len(history)}
    print(json.dumps(found, indent=1))
    print(f"kept in {save('last_click', {'protocol': RULES, 'split': 'validation', 'found': found})}")


if __name__ == "__main__":
    main()
