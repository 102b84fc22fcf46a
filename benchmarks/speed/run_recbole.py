"""RecBole: ``SASRec`` with full cross-entropy, one training row per prefix, its own trainer, ``full_sort_predict``."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.speed.workload import TOP, VALIDATION, Clock, Histories, Job, check_answers, report, timed


class Bounded:
    """The first batches of a loader. The time and rows of a batch are noted when the trainer asks for the next one."""

    shuffle = False

    def __init__(self, loader: Any, batches: int, clock: Clock, targets: Callable[[Any], int] = len) -> None:
        self._loader, self._batches, self._clock, self._targets = loader, batches, clock, targets

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self._loader):
            if number == self._batches:
                return
            yield batch
            self._clock.batch_ended(self._targets(batch))


def write(histories: Histories, folder: Path) -> None:
    """RecBole's own file format; the position inside the history stands for the time."""
    place = np.arange(len(histories.user)) - np.repeat(histories.offsets[:-1], np.diff(histories.offsets))
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.column_stack([histories.user, histories.item, place])
    header = "user_id:token\titem_id:token\ttimestamp:float"
    np.savetxt(folder / "histories.inter", rows, fmt="%d", delimiter="\t", header=header, comments="")


def _config(job: Job) -> Config:
    settings = {
        "data_path": job.scratch,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "MAX_ITEM_LIST_LENGTH": job.length,
        "hidden_size": job.width,
        "inner_size": job.width,
        "n_layers": job.blocks,
        "n_heads": job.heads,
        "hidden_dropout_prob": job.dropout,
        "attn_dropout_prob": 0.0,  # see Job.dropout
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": job.rows,
        "eval_batch_size": 128,  # fastest of 128 to 4096
        "use_gpu": False,
        "show_progress": False,
        "seed": job.seed,
        "checkpoint_dir": str(Path(job.scratch) / "saved"),
    }
    return Config(model="SASRec", dataset="histories", config_dict=settings)


def _answers(model: SASRec, loader: Any, seen: list[np.ndarray], items: np.ndarray) -> np.ndarray:
    """Int [users, 10], our item numbers in user order; RecBole masks no history of a sequential model by itself."""
    found = np.zeros((len(seen), TOP), dtype=np.int64)
    with torch.no_grad():
        for batch, *_ in loader:
            scores = model.full_sort_predict(batch)
            users = batch["user_id"].numpy()
            history = [seen[user] for user in users]
            rows = np.repeat(np.arange(len(users)), [len(each) for each in history])
            scores[:, 0] = -torch.inf
            scores[rows, np.concatenate(history)] = -torch.inf
            found[users] = items[torch.topk(scores, TOP, dim=1).indices.numpy()]
    return found[1:]


def main() -> None:
    """Measures one job."""
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    job = Job.from_argv()
    os.chdir(job.scratch)  # RecBole leaves logs where it stands
    torch.set_num_threads(job.threads)
    histories = Histories.load(job.data)
    write(histories, Path(job.scratch) / "histories")
    config = _config(job)
    init_seed(job.seed, reproducibility=False)
    dataset = create_dataset(config)
    train, _, test = data_preparation(config, dataset)
    model = SASRec(config, train.dataset)
    clock = Clock(job.warmup)
    Trainer(config, model)._train_epoch(Bounded(train, job.warmup + job.batches, clock), 0)  # noqa: SLF001 - the loop itself

    known = histories.until(VALIDATION)
    # RecBole renumbers users and items in the order of its file; 0 is padding in both.
    tokens = {field: dataset.field2id_token[field][1:].astype(np.int64) for field in ("user_id", "item_id")}
    number = np.zeros(histories.n_items + 1, dtype=np.int64)
    number[tokens["item_id"]] = np.arange(1, len(tokens["item_id"]) + 1)
    parts = np.split(number[known.item], known.offsets[1:-1])
    seen = [np.zeros(0, dtype=np.int64), *(parts[user - 1] for user in tokens["user_id"])]
    model.eval()
    items = np.append(0, tokens["item_id"])
    seconds, answers = timed(lambda: _answers(model, test, seen, items))
    check_answers(answers[np.argsort(tokens["user_id"])], known)
    report("recbole", train_rate=clock.rate, users=len(answers), seconds=seconds)


if __name__ == "__main__":
    main()
