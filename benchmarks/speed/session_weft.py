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
    """The first batches of an epoch. The time and targets of a batch are noted when the loop asks for the next one.

    ``asked`` receives the targets of a batch whose network draws them.
    """

    def __init__(self, batches: Any, number: int, clock: Clock, asked: list[int]) -> None:
        self._batches, self._number, self._clock, self._asked = batches, number, clock, asked

    def __len__(self) -> int:
        return self._number

    def epoch(self, number: int) -> Iterator[Any]:
        """What the loop takes."""
        for batch, _ in zip(self._batches.epoch(number), range(self._number), strict=False):
            yield batch
            self._clock.batch_ended(self._asked.pop() if self._asked else batch[1])


def _count_hidden(model: HistoryModel[Any], asked: list[int]) -> None:
    """Notes how many items each batch hides."""
    loss = model.network.loss

    def counted(network: Any, states: Any, target: Any) -> Any:
        asked.append(len(target))
        return loss(network, states, target)

    model.network.loss = counted  # type: ignore[method-assign]


def main() -> None:
    """Measures one job."""
    job = Job.from_argv()
    histories = Histories.load(job.data)
    sessions = int(histories.user[-1])
    kind = entry(job.model)
    shape = {"width": job.width, "hidden": job.width, "blocks": job.blocks, "heads": job.heads, "feedforward": 1,
             "mask": 0.2}  # fmt: skip
    known = {name: value for name, value in shape.items() if name in kind.settings.model_fields}
    settings = kind.settings.model_validate(
        {"epochs": 1, "batch": job.batch, "length": job.length, "dropout": job.dropout, **known}
    )
    model, clock = kind.build(settings), Clock(job.warmup)
    if not isinstance(model, HistoryModel):
        raise SystemExit(f"{job.model} does not learn from histories")
    events = Events(histories.user, histories.item, None, None, sessions, histories.n_items)
    asked: list[int] = []
    if job.model == "bert4rec":
        _count_hidden(model, asked)
    batches = _Bounded(model.batches(events, job.seed), job.warmup + job.batches, clock, asked)
    model.batches = lambda *_: batches  # type: ignore[method-assign]
    model.fit(events, None, Runtime(device="cpu", threads=job.threads, seed=job.seed))
    print(json.dumps({"seconds": clock.seconds, "busy_seconds": clock.busy_seconds}), flush=True)


if __name__ == "__main__":
    main()
