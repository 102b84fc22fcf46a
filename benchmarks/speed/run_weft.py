"""weft: ``SASRec.fit`` on the product's fit loop with its process settings, and ``ranking.top_k``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.speed.matmul import Epoch, ideal_seconds
from benchmarks.speed.workload import TOP, TRAIN, VALIDATION, Histories, Job, check_answers, report, timed
from weft.data.sequences import Events, Queries
from weft.evaluation.ranking import top_k
from weft.models.sasrec import SASRec
from weft.models.settings import SASRecSettings
from weft.training.runtime import Runtime


class EpochClock:
    """A ``Progress`` that notes when each epoch ends: the loop then says what the loss was."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    @contextmanager
    def step(self, label: str, total: float | None = None, unit: str = "rows") -> Iterator[EpochClock]:
        """The loop's one piece of work."""
        del label, total, unit
        yield self

    def advance(self, done: float = 1, note: str = "") -> None:
        """Called per batch without a note, per epoch with one."""
        del done
        if note:
            self.ends.append(time.perf_counter())


def main() -> None:
    """Measures one job: the second epoch, whole."""
    job = Job.from_argv()
    histories = Histories.load(job.data)
    train = histories.until(TRAIN)
    users = int(histories.user[-1])
    settings = SASRecSettings(
        epochs=2,
        patience=0,
        batch=job.batch,
        length=job.length,
        width=job.width,
        blocks=job.blocks,
        heads=job.heads,
        dropout=job.dropout,
        loss="cross_entropy",
    )
    model, clock = SASRec(settings), EpochClock()
    runtime = Runtime(device="cpu", threads=job.threads, seed=job.seed, progress=clock)
    model.fit(Events(train.user, train.item, None, None, users, histories.n_items), None, runtime)
    seconds_epoch = clock.ends[1] - clock.ends[0]
    lengths = (np.minimum(np.diff(train.offsets), job.length + 1) - 1).tolist()
    epoch = Epoch(lengths, job.batch, job.width, job.blocks, histories.n_items)

    known = histories.until(VALIDATION)
    each = np.arange(users)
    queries = Queries(each, (each + 1).astype(np.int32), None, known.item, known.offsets)
    top_k(model.score, queries.take(each[:256]), TOP)
    seconds, (answers, _) = timed(lambda: top_k(model.score, queries, TOP))
    check_answers(answers, known)
    ideal, rates = ideal_seconds(epoch)
    report(
        "weft",
        train_rate=epoch.positions / seconds_epoch,
        users=users,
        seconds=seconds,
        seconds_epoch=seconds_epoch,
        matmul_share=ideal / seconds_epoch,
        matmul_gflops=rates,
    )


if __name__ == "__main__":
    main()
