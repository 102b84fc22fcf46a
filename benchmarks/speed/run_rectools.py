"""RecTools: ``SASRecModel`` with softmax loss, its Lightning trainer, and ``recommend``."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.speed.workload import TOP, TRAIN, VALIDATION, Clock, Histories, Job, check_answers, report, timed


class _Timer(Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del trainer
        for layer in pl_module.modules():
            if isinstance(layer, torch.nn.MultiheadAttention):
                layer.dropout = 0.0  # see Job.dropout

    def on_train_batch_end(self, *args: Any) -> None:
        batch = args[3]
        self.clock.batch_ended(int((batch["y"] != 0).sum()))


def _dataset(histories: Histories) -> Dataset:
    order = pd.to_datetime(np.arange(len(histories.user)), unit="s")
    columns = {Columns.User: histories.user, Columns.Item: histories.item, Columns.Weight: 1, Columns.Datetime: order}
    return Dataset.construct(pd.DataFrame(columns))


def main() -> None:
    """Measures one job."""
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    job = Job.from_argv()
    torch.set_num_threads(job.threads)
    seed_everything(job.seed)
    histories = Histories.load(job.data)

    def trainer() -> Trainer:
        return Trainer(
            max_steps=job.warmup + job.batches,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[_Timer(Clock(job.warmup))],
        )

    model = SASRecModel(
        n_factors=job.width,
        n_blocks=job.blocks,
        n_heads=job.heads,
        session_max_len=job.length,
        dropout_rate=job.dropout,
        loss="softmax",
        batch_size=job.batch,
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    model.fit(_dataset(histories.until(TRAIN)))
    # RecTools fits with a copy of the trainer, so the clock that ran is the copy's.
    clock = next(each.clock for each in model.fit_trainer.callbacks if isinstance(each, _Timer))
    known = histories.until(VALIDATION)
    dataset, users = _dataset(known), np.unique(known.user)
    model.recommend(users[:256], dataset, k=TOP, filter_viewed=True)
    seconds, answers = timed(lambda: model.recommend(users, dataset, k=TOP, filter_viewed=True))
    check_answers(answers[Columns.Item].to_numpy().reshape(-1, TOP), known)
    report("rectools", train_rate=clock.rate, users=len(users), seconds=seconds)


if __name__ == "__main__":
    main()
