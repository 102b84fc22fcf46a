"""The canary through the whole pipeline: it sings in one of two storages, after all training, and nobody hears it."""

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
import yaml

from assets import baselines, interactions
from assets.partitions import DATASETS
from pipelines import jobs
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from resources.storage import ParquetStorage
from weft.cells import Cell
from weft.data.registry import save, specify
from weft.evaluation.protocols import protocol
from weft.models.registry import MODELS

USERS, ITEMS, CANARY = 30, 15, 15
CUTS = {"validation_from": 7_000, "test_from": 8_000}
OF_THE_FUTURE = {"raw_interactions", "interactions", "splits", "rejected"}
"""Tables that hold the test events themselves."""


def _world() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(1, USERS + 1, 500), "item": rng.integers(1, CANARY, 500),
            "at": np.sort(rng.integers(1, 10_000, 500))}  # fmt: skip
    return pl.DataFrame(rows).unique(["user", "at"], keep="first", maintain_order=True)


def _sung(world: pl.DataFrame, name: str) -> pl.DataFrame:
    """The canary instead of every test event; where a cut in time decides, on top of them as well."""
    last = pl.col("at") == pl.col("at").max().over("user")
    future = last if name == "leave_one_out" else pl.col("at") >= CUTS["test_from"]
    sung = world.with_columns(item=pl.when(future).then(CANARY).otherwise("item"))
    if name == "leave_one_out":
        return sung
    more = pl.DataFrame({"user": range(1, USERS + 1), "item": [CANARY] * USERS, "at": range(9_001, 9_001 + USERS)})
    return pl.concat([sung, more.cast(dict(sung.schema))])


def _made(folder: Path, events: pl.DataFrame, name: str) -> ArtifactStore:
    """Everything from the file to embeddings and rankings, in a storage of its own.

    Of the main models: the stages of all are made by one factory, and ``test_canary.py`` hears every model.
    """
    folder.mkdir()
    events.write_csv(folder / "events.csv")
    pl.DataFrame({"item": range(1, ITEMS + 1), "title": [f"Item {i}" for i in range(1, ITEMS + 1)]}).write_csv(
        folder / "items.csv"
    )
    mapping = {"interactions": {"timestamp": "at"}, "items": {"file": "items.csv", "title": "title"}}
    (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    base = str(folder / "storage")
    save(base, specify(base, "shop", format="tabular", source=str(folder / "events.csv"),
                       mapping=folder / "mapping.yaml", protocols={"global_time": CUTS}))  # fmt: skip
    source, instance = DataSource(base=base), dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(DATASETS.name, ["shop"])
    found = dg.load_assets_from_modules([interactions, baselines])
    main = (name for name, entry in MODELS.items() if entry.main)
    dg.materialize(
        found,
        selection=jobs.INGEST | jobs.of_systems(*main),
        partition_key="shop",
        instance=instance,
        resources={
            "io_manager": ParquetStorage(base=base),
            "data_source": source,
            "cells": Cells(data_source=source, protocols=[name]),
            "accelerator": Accelerator(device="cpu"),
        },
        run_config={"ops": {"behaviour__sasrec": {"config": {"epochs": 2, "width": 8, "blocks": 1, "length": 8}}}},
    )
    return ArtifactStore(base)


@pytest.mark.parametrize("name", ["leave_one_out", "global_time"])
def test_every_training_artifact_is_equal_by_content_digest(name: str, tmp_path) -> None:
    world = _world()
    sung = _sung(world, name)
    stores = [_made(tmp_path / each, events, name) for each, events in (("silent", world), ("singing", sung))]
    cell = Cell("shop", name)
    heard = [store.read("interactions.splits", cell) for store in stores]
    assert not heard[0].filter(item=CANARY).height
    assert heard[1].filter(item=CANARY)["split"].unique().to_list() == ["test"]
    assert heard[1].filter(item=CANARY, target=True).height
    assert protocol(name).task(heard[1], "test", ITEMS).candidates[CANARY]

    leaves = [{(leaf.asset, leaf.cell): leaf.digest for leaf in store.leaves(dataset="shop")} for store in stores]
    assert leaves[0].keys() == leaves[1].keys()
    compared = {
        key: digest
        for key, digest in leaves[0].items()
        if key[0].split(".")[1] not in OF_THE_FUTURE and not key[0].endswith("_rankings")
    }
    assert {asset for asset, _ in compared} >= {
        "interactions.users", "interactions.items", "baselines.popularity", "baselines.recent_popularity",
        "baselines.itemknn", "behaviour.sasrec", "behaviour.sasrec_history", "behaviour.item_embeddings",
        "behaviour.user_embeddings",
    }  # fmt: skip
    assert {key: leaves[1][key] for key in compared} == compared
    for asset, at in leaves[0]:
        if asset.endswith("_rankings"):
            validation = [store.read(asset, at).filter(split="validation") for store in stores]
            assert validation[0].equals(validation[1]), asset
