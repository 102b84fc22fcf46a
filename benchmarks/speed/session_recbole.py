"""RecBole's trainer on sessions: a training row for every prefix, padded to one length."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.trainer import Trainer
from recbole.utils import get_model, init_seed

from benchmarks.speed.run_recbole import Bounded, write
from benchmarks.speed.workload import Clock, Histories, Job

NAMES = {
    "srgnn": "SRGNN",
    "narm": "NARM",
    "stamp": "STAMP",
    "gru4rec": "GRU4Rec",
    "core": "CORE",
    "bert4rec": "BERT4Rec",
}


def _targets(batch: Any) -> int:
    """Rows, each of which asks for one item; BERT4Rec's ask for those that are hidden in it."""
    return int((batch["Pos_item_id"] > 0).sum()) if "Pos_item_id" in batch else len(batch)


def _with_held_out(histories: Histories) -> Histories:
    """Two more events at the end of each session: RecBole holds two out, and then trains on all that we do."""
    after = np.repeat(histories.offsets[1:], 2)
    arrays = (np.insert(each, after, each[after - 1]) for each in (histories.user, histories.item, histories.part))
    return Histories(*arrays, histories.n_items)


def main() -> None:
    """Measures one job."""
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    job = Job.from_argv()
    os.chdir(job.scratch)  # RecBole leaves logs where it stands
    torch.set_num_threads(job.threads)
    write(_with_held_out(Histories.load(job.data)), Path(job.scratch) / "histories")
    config = Config(
        model=NAMES[job.model],
        dataset="histories",
        config_dict={
            "data_path": job.scratch,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
            "MAX_ITEM_LIST_LENGTH": job.length,
            "embedding_size": job.width,
            "hidden_size": job.width,
            "inner_size": job.width,
            "n_layers": job.blocks,
            "n_heads": job.heads,
            "hidden_dropout_prob": job.dropout,
            "attn_dropout_prob": 0.0,  # see Job.dropout
            "loss_type": "CE",
            "train_neg_sample_args": None,
            "train_batch_size": job.rows,
            "use_gpu": False,
            "show_progress": False,
            "seed": job.seed,
            "checkpoint_dir": str(Path(job.scratch) / "saved"),
        },
    )
    init_seed(job.seed, reproducibility=False)
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    model = get_model(config["model"])(config, train.dataset)
    clock = Clock(job.warmup)
    Trainer(config, model)._train_epoch(Bounded(train, job.warmup + job.batches, clock, _targets), 0)  # noqa: SLF001 - the loop
    print(json.dumps({"seconds": clock.seconds, "busy_seconds": clock.busy_seconds}), flush=True)


if __name__ == "__main__":
    main()
