"""What every library is handed and hands back. Imports numpy only: it runs in the peers' environments too.

A module ``run_<library>`` is started as ``python -m benchmarks.speed.run_<library> JOB`` with JOB a JSON object, and
prints its figures as one JSON line.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np

TRAIN, VALIDATION = 0, 1
TOP = 10


@dataclass(frozen=True)
class Job:
    """One measurement. The shape of the model and its dropout are the same for every library.

    Attributes:
        data: npz file with the arrays of ``Histories``.
        model: weft's name of the model.
        scratch: Folder for files that a library wants to read.
        length: Last items of a history that are read.
        batch: Sequences per optimiser step (training rows for RecBole: ``rows``).
        warmup: Batches before the clock starts.
        batches: Batches measured.
        threads: CPU threads.
        seed: Differs between repeats.
        dropout: On inputs and block outputs. The peers would also drop attention weights, which weft's SASRec does not:
            that is switched off in them, so that all do the same work (they gain up to 10 % by it).
    """

    data: str
    scratch: str
    length: int
    batch: int = 128
    rows: int = 2048
    warmup: int = 2
    batches: int = 8
    threads: int = 2
    seed: int = 0
    width: int = 64
    blocks: int = 2
    heads: int = 1
    dropout: float = 0.2
    model: str = "sasrec"

    def to_json(self) -> str:
        """The command-line argument of a script."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argv(cls) -> Job:
        """The job that this script was started with."""
        return cls(**json.loads(sys.argv[1]))


@dataclass(frozen=True)
class Histories:
    """Interactions sorted by user and time.

    Attributes:
        user: int32 [n], from 1.
        item: int32 [n], from 1 to ``n_items``.
        part: int8 [n], 0 training, 1 validation, 2 test.
        n_items: Size of the catalogue.
    """

    user: np.ndarray
    item: np.ndarray
    part: np.ndarray
    n_items: int

    @classmethod
    def load(cls, path: str) -> Histories:
        """From the file that the driver wrote."""
        arrays = np.load(path)
        return cls(arrays["user"], arrays["item"], arrays["part"], int(arrays["n_items"]))

    def until(self, part: int) -> Histories:
        """The interactions up to and including ``part``."""
        kept = self.part <= part
        return Histories(self.user[kept], self.item[kept], self.part[kept], self.n_items)

    @property
    def offsets(self) -> np.ndarray:
        """int64 [users + 1]: interactions of the i-th user are ``offsets[i]:offsets[i + 1]``."""
        return np.append(np.flatnonzero(np.diff(self.user, prepend=0)), len(self.user))


class Clock:
    """Rate of a training loop from the ends of its batches; ``batch_ended`` is called by the loop's own hook."""

    def __init__(self, warmup: int) -> None:
        self._warmup = warmup
        self._ends: list[float] = []
        self._busy: list[float] = []
        self._targets: list[int] = []

    def batch_ended(self, targets: int) -> None:
        """Notes the time and the number of real (not padding) targets of the batch that ended."""
        self._targets.append(int(targets))
        self._ends.append(time.perf_counter())
        self._busy.append(time.process_time())

    @property
    def rate(self) -> float:
        """Targets per second after the warm-up, data loading and optimiser included."""
        seconds = self._ends[-1] - self._ends[self._warmup - 1]
        return sum(self._targets[self._warmup :]) / seconds

    @property
    def seconds(self) -> float:
        """Seconds per 1,000 targets after the warm-up."""
        return 1000 / self.rate

    @property
    def busy_seconds(self) -> float:
        """Processor seconds of all threads per 1,000 targets: on a busy machine what would not wait for others."""
        busy = self._busy[-1] - self._busy[self._warmup - 1]
        return 1000 * busy / sum(self._targets[self._warmup :])


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that ``action`` took, and its result."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def check_answers(items: np.ndarray, histories: Histories) -> None:
    """Fails unless the answers, int [users, 10] in user order, are ten different unseen items for every user."""
    offsets = histories.offsets
    if items.shape != (len(offsets) - 1, TOP):
        raise SystemExit(f"answers of shape {items.shape}")
    for user, row in enumerate(items):
        if len(set(row.tolist()) - set(histories.item[offsets[user] : offsets[user + 1]].tolist())) != TOP:
            raise SystemExit(f"user {user}: seen or repeated items in {row}")


def report(library: str, *, train_rate: float, users: int, seconds: float, **more: Any) -> None:
    """Prints the figures of this process as one line of JSON."""
    figures = {
        "train_per_second": train_rate,
        "users_per_second": users / seconds,
        "users": users,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": {name: metadata.version(name) for name in (library, "torch", "numpy")},
        **more,
    }
    print(json.dumps(figures), flush=True)
