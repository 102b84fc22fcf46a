"""weft's fit on sessions: the product's own loop and batches, of which the first are timed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.speed.workload import Clock, Histories, Job
from weft.data.sequences import Events
from weft.models.history import HistoryModel
from weft.models.registry import entry
from weft.training.runtime import Runtime


class _Bounded:
    """The first batches of an epoch. The time and targets of a batch are noted when the loop asks for the next one."""

    def __init__(self, batches: Any, number: int, clock: Clock) -> None:
        self._batches, self._number, self._clock = batches, number, clock

    def __len__(self) -> int:
        return self._number

    def epoch(self, number: int) -> Iterator[Any]:
        """What the loop takes."""
        for batch, _ in zip(self._batches.epoch(number), range(self._number), strict=False):
            yield batch
            self._clock.batch_ended(batch[1])


def main() -> None:
    """Measures one job."""
    job = Job.from_argv()
    histories = Histories.load(job.data)
    sessions = int(histories.user[-1])
    kind = entry(job.model)
    settings = kind.settings.model_validate(
        {"epochs": 1, "batch": job.batch, "length": job.length, "width": job.width, "dropout": job.dropout}
    )
    model, clock = kind.build(settings), Clock(job.warmup)
    if not isinstance(model, HistoryModel):
        raise SystemExit(f"{job.model} does not learn from histories")
    events = Events(histories.user, histories.item, None, None, sessions, histories.n_items)
    batches = _Bounded(model.batches(events, job.seed), job.warmup + job.batches, clock)
    model.batches = lambda *_: batches  # type: ignore[method-assign]
    model.fit(events, None, Runtime(device="cpu", threads=job.threads, seed=job.seed))
    print(json.dumps({"seconds": clock.seconds, "busy_seconds": clock.busy_seconds}), flush=True)


if __name__ == "__main__":
    main()
