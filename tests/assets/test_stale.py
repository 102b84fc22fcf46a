"""Data that grow: what was fitted before is neither reported, served nor loaded as if it were of today."""

import logging
from pathlib import Path

import dagster as dg
import pytest

from assets import baselines, fitting
from assets.partitions import DATASETS
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from resources.storage import ParquetStorage
from tests.assets.shop import open_shop
from tests.pipelines.running import make
from weft.cells import Cell
from weft.errors import WeftError
from weft.models.registry import entry

SHOP = Cell("shop")
CELL = Cell("shop", "leave_one_out", "offline", "full", 0)


def reported(store: ArtifactStore) -> set[str]:
    return set(store.read("reports.metrics", SHOP)["system"])


def served(store: ArtifactStore) -> set[str]:
    return set(store.read("serving.recommendations", SHOP).filter(user=1)["system"])


def test_after_the_data_have_grown_only_what_was_fitted_again_is_reported_and_served(
    tiny_storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ArtifactStore(tiny_storage)
    open_shop(tiny_storage, items=15)
    assert make(tiny_storage, "itemknn", dataset="shop").success
    assert (reported(store), served(store)) == ({"itemknn"}, {"itemknn"})

    open_shop(tiny_storage, items=40)
    with caplog.at_level(logging.WARNING):
        assert make(tiny_storage, "popularity", dataset="shop").success
    assert (reported(store), served(store)) == ({"popularity"}, {"popularity"})
    assert f"baselines.itemknn_rankings {CELL.path}" in caplog.text
    with pytest.raises(WeftError, match="fit it again"):
        fitting.load(entry("itemknn"), store, CELL, Accelerator(device="cpu"))

    assert make(tiny_storage, "itemknn", dataset="shop", ingest=False).success
    assert reported(store) == {"popularity", "itemknn"}


def test_an_item_that_nobody_took_yet_makes_a_fit_stale_as_well(tiny_storage: Path) -> None:
    store = ArtifactStore(tiny_storage)
    open_shop(tiny_storage)
    assert make(tiny_storage, "itemknn", dataset="shop").success
    footer = store.footer("baselines.itemknn", CELL)
    assert fitting.is_current(store, CELL, footer)
    items = store.read("interactions.items", SHOP)
    store.write("interactions.items", SHOP, items.head(14))
    assert not fitting.is_current(store, CELL, footer)


def test_another_cell_does_not_displace_what_did_better_on_validation(tiny_storage: Path) -> None:
    store = ArtifactStore(tiny_storage)
    assert make(tiny_storage, "popularity").success
    assert make(tiny_storage, "itemknn", seeds=[7], ingest=False).success
    ndcg = store.read("reports.metrics", Cell("tiny")).filter(split="validation", metric="ndcg", k=10, slice="all")
    figures = dict(ndcg.select("system", "value").rows())
    assert figures["popularity"] > figures["itemknn"], "the older fit, and the first in the registry, is the better one"
    assert store.footer("serving.recommendations", Cell("tiny"))["system"] == "popularity"


def test_rankings_name_the_rules_that_they_were_ranked_under(tiny_storage: Path) -> None:
    store = ArtifactStore(tiny_storage)
    open_shop(tiny_storage)
    assert make(tiny_storage, "itemknn", dataset="shop").success
    old = store.read("baselines.itemknn", CELL)
    told = store.footer("baselines.itemknn", CELL)
    kept = {name: told[name] for name in ("system", "settings", "splits_digest", "n_items", "config_digest", "device")}
    # A fit under other rules that gave the same splits, from a time when less was written down.
    store.write("baselines.itemknn", CELL, old, attributes={**kept, "protocol_digest": "other"})
    source = DataSource(base=str(tiny_storage))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, ["shop"])
        dg.materialize(
            [*baselines.FITS, *baselines.MADE],
            partition_key="shop",
            instance=instance,
            selection=dg.AssetSelection.assets(["baselines", "itemknn_rankings"]),
            resources={
                "io_manager": ParquetStorage(base=str(tiny_storage)),
                "data_source": source,
                "cells": Cells(data_source=source),
                "accelerator": Accelerator(device="cpu"),
            },
        )
    footer = store.footer("baselines.itemknn_rankings", CELL)
    assert footer["protocol_digest"] == told["protocol_digest"] != "other"
    assert footer["peak_mb"] == ""
