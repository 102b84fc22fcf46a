"""RePlay: ``SasRec`` with full cross-entropy, its Lightning module, Parquet batches and top-items callback."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.callback import TorchTopItemsCallback
from replay.nn.lightning.postprocessor import SeenItemsFilter
from replay.nn.sequential import LengthBucketedQueryEncoder, SasRec
from replay.nn.transform import GroupTransform, RenameTransform
from replay.nn.transform.template import make_default_sasrec_transforms

from benchmarks.speed.workload import TOP, TRAIN, VALIDATION, Clock, Histories, Job, check_answers, report, timed

# Fastest of 32 to 512 on one core at length 200, where 512 takes more than twice as long.
_ANSWER_BATCH = 64
# RePlay's own length buckets inside a batch: about 5 % faster at length 200, no difference at 50.
_BUCKET = 32


class _Timer(lightning.Callback):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_train_batch_end(self, *args: Any) -> None:
        batch = args[3]
        self._clock.batch_ended(int(batch["target_padding_mask"].sum()))


def _write(histories: Histories, path: Path) -> str:
    """One row per user; items from 0, because RePlay keeps the last number for padding."""
    offsets = pa.array(histories.offsets)
    items = pa.LargeListArray.from_arrays(offsets, pa.array(histories.item.astype(np.int64) - 1))
    users = pa.array(histories.user[histories.offsets[:-1]].astype(np.int64))
    pq.write_table(pa.table({"user_id": users, "item_id": items, "seen_ids": items}), path)
    return str(path)


def _batches(job: Job, histories: Histories, schema: TensorSchema) -> ParquetModule:
    known = histories.until(VALIDATION)
    scratch = Path(job.scratch)
    padding = histories.n_items
    longest = int(np.diff(known.offsets).max())
    transforms = make_default_sasrec_transforms(schema)
    transforms["predict"] = [
        RenameTransform({"item_id_mask": "padding_mask"}),
        GroupTransform({"feature_tensors": schema.names}),
    ]
    return ParquetModule(
        batch_size={"train": job.batch, "predict": _ANSWER_BATCH},
        metadata={
            "train": {"user_id": {}, "item_id": {"shape": job.length + 1, "padding": padding}},
            "predict": {
                "user_id": {},
                "item_id": {"shape": job.length, "padding": padding},
                "seen_ids": {"shape": longest, "padding": padding},
            },
        },
        transforms=transforms,
        train_path=_write(histories.until(TRAIN), scratch / "train.parquet"),
        predict_path=_write(known, scratch / "predict.parquet"),
    )


def _trainer(**settings: Any) -> lightning.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return lightning.Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **quiet, **settings)


def main() -> None:
    """Measures one job."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    job = Job.from_argv()
    torch.set_num_threads(job.threads)
    lightning.seed_everything(job.seed)
    histories = Histories.load(job.data)
    items = TensorFeatureInfo(
        "item_id",
        is_seq=True,
        feature_type=FeatureType.CATEGORICAL,
        embedding_dim=job.width,
        padding_value=histories.n_items,
        cardinality=histories.n_items,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
    )
    schema = TensorSchema([items])
    network = SasRec.from_params(
        schema=schema,
        embedding_dim=job.width,
        num_heads=job.heads,
        num_blocks=job.blocks,
        max_sequence_length=job.length,
        dropout=job.dropout,
    )
    for layer in network.modules():
        if isinstance(layer, torch.nn.MultiheadAttention):
            layer.dropout = 0.0  # see Job.dropout
    network.body.encoder = LengthBucketedQueryEncoder(network.body.encoder, _BUCKET)
    module, batches, clock = LightningModule(network), _batches(job, histories, schema), Clock(job.warmup)
    steps = job.warmup + job.batches
    _trainer(max_steps=steps, limit_val_batches=0, callbacks=[_Timer(clock)]).fit(module, datamodule=batches)

    def answer(limit: int | None) -> tuple[torch.Tensor, ...]:
        best = TorchTopItemsCallback(TOP, "user_id", [SeenItemsFilter(histories.n_items)])
        trainer = _trainer(callbacks=[best], limit_predict_batches=limit)
        trainer.predict(module, datamodule=batches, return_predictions=False)
        return best.get_result()

    answer(1)
    seconds, (users, answers, _) = timed(lambda: answer(None))
    order = users.argsort()
    check_answers(answers[order].numpy() + 1, histories.until(VALIDATION))
    report("replay-rec", train_rate=clock.rate, users=len(users), seconds=seconds)


if __name__ == "__main__":
    main()
