"""Minutes until validation NDCG@10 reaches a goal, with the settings that weft ships for the data set."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.speed import data
from weft.evaluation.protocols import protocol
from weft.models.sasrec import SASRec
from weft.models.settings import SASRecSettings, resolve
from weft.training.runtime import Runtime

_METRIC = re.compile(r"NDCG@10 ([0-9.]+)")


class Reached(Exception):  # noqa: N818 - nothing went wrong
    """The goal is reached: ends the fit."""


class Watch:
    """A ``Progress`` that reads the metric from the loop's notes and ends the fit at ``goal``."""

    def __init__(self, goal: float) -> None:
        self._goal = goal
        self._start = time.perf_counter()
        self._epoch = 0
        self.evaluations: list[dict[str, float]] = []

    @contextmanager
    def step(self, label: str, total: float | None = None, unit: str = "rows") -> Iterator[Watch]:
        """The loop's one piece of work."""
        del label, total, unit
        yield self

    def advance(self, done: float = 1, note: str = "") -> None:
        """Called with a note at the end of each epoch, which has the metric where there was an evaluation."""
        del done
        self._epoch += bool(note)
        if found := _METRIC.search(note):
            minutes = (time.perf_counter() - self._start) / 60
            self.evaluations.append({"epoch": self._epoch, "minutes": round(minutes, 2), "ndcg_10": float(found[1])})
            print(f"epoch {self._epoch}: {minutes:.1f} min, {note}", file=sys.stderr, flush=True)
            if float(found[1]) >= self._goal:
                raise Reached


def minutes_to(source: Path, goal: float, threads: int) -> dict[str, Any]:
    """Fits on leave-one-out training data until validation reaches ``goal``, or as long as the settings say."""
    split, rules = data.split(source, min_item_events=0), protocol("leave_one_out")
    settings = resolve(SASRecSettings, "sasrec", "ml-1m", {})
    assert isinstance(settings, SASRecSettings)  # noqa: S101 - narrows the type
    train = rules.events(split.table, split.n_users, split.n_items)
    validation = rules.task(split.table, "validation", split.n_items)
    watch = Watch(goal)
    with suppress(Reached):
        SASRec(settings).fit(train, validation, Runtime(device="cpu", threads=threads, progress=watch))
    last = watch.evaluations[-1]
    return {
        "goal": goal,
        "reached": last["ndcg_10"] >= goal,
        "epoch": last["epoch"],
        "minutes": last["minutes"],
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "settings": settings.model_dump(),
        "evaluations": watch.evaluations,
    }


if __name__ == "__main__":
    print(json.dumps(minutes_to(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
