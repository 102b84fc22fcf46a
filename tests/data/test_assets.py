"""The stage through its public door: materialised by Dagster, looked at in storage."""

import zipfile

import dagster as dg
import polars as pl
import pytest
from PIL import Image

from assets.card import card
from assets.interactions import cleaning, images, raw, splits
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from resources.storage import ParquetStorage
from weft.cells import Cell
from weft.data.registry import save, specify

STAGE = [raw, cleaning, images, splits, card]


def materialize(base: str, dataset: str, protocols: tuple[str, ...] = (), **more) -> dg.ExecuteInProcessResult:
    source = DataSource(base=base)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("dataset", [dataset])
        return dg.materialize(
            STAGE,
            partition_key=dataset,
            instance=instance,
            resources={
                "io_manager": ParquetStorage(base=base),
                "data_source": source,
                "cells": Cells(data_source=source, protocols=list(protocols)),
            },
            **more,
        )


def test_the_storefront_goes_from_settings_to_splits_with_every_table_in_storage(tmp_path):
    base = str(tmp_path / "storage")
    save(base, specify(base, "storefront", settings={"preset": "tiny"}))
    assert materialize(base, "storefront", ("leave_one_out", "global_time")).success
    store, cell = ArtifactStore(base), Cell("storefront")
    table = {name: store.read(f"interactions.{name}", cell) for name in (
        "raw_interactions", "raw_items", "raw_images", "truth", "interactions", "users", "items", "images", "rejected",
    )}  # fmt: skip
    assert len(table["interactions"]) + len(table["rejected"]) == len(table["raw_interactions"])
    assert set(table["rejected"]["rule"]) == {"missing_user", "duplicate", "bad_timestamp", "rating_out_of_range"}
    assert table["images"]["item"].to_list() == table["items"]["item"].to_list()
    assert len(table["truth"]) > 0
    for protocol in ("leave_one_out", "global_time"):
        parts = store.read("interactions.splits", Cell("storefront", protocol))
        assert parts["row"].to_list() == table["interactions"]["row"].to_list()
        assert set(parts["split"]) == {"train", "validation", "test"}


def test_what_a_person_sees_in_the_page_are_counts_times_and_reasons(tmp_path):
    base = str(tmp_path / "storage")
    save(base, specify(base, "storefront", settings={"preset": "tiny"}))
    events = materialize(base, "storefront").get_asset_materialization_events()
    seen = {event.asset_key.path[-1]: event.materialization.metadata for event in events}
    assert "| events | users |" in seen["interactions"]["events per user"].value
    assert "| interactions | duplicate | 4 |" in seen["rejected"]["by rule"].value
    assert "| leave_one_out | test | 80 | 80 |" in seen["splits"]["parts"].value
    assert "| users | 80 |" in seen["card"]["data set"].value
    assert "| from | 2023-01" in seen["card"]["data set"].value
    assert "| fact | train | validation | test |" in seen["card"]["leave_one_out"].value


def test_a_second_run_changes_no_content(tmp_path):
    base = str(tmp_path / "storage")
    save(base, specify(base, "storefront", settings={"preset": "tiny"}))
    digests = []
    for _ in range(2):
        assert materialize(base, "storefront").success
        digests.append({str(leaf.path): leaf.digest for leaf in ArtifactStore(base).leaves()})
    assert digests[0] == digests[1]
    assert len(digests[0]) == 11


def test_real_files_have_no_truth_and_unreadable_posters_are_named_among_the_rejected(tmp_path):
    base = str(tmp_path / "storage")
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        archive.writestr("ratings.dat", "1::1::5::10\n1::2::4::20\n1::1::3::30\n2::2::5::5\n")
        archive.writestr("movies.dat", "1::One (1999)::Drama\n2::Two::\n")
    (tmp_path / "posters").mkdir()
    (tmp_path / "posters" / "1.jpg").write_bytes(b"not a picture")
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "posters" / "notes.csv")
    Image.new("RGB", (4, 4)).save(tmp_path / "posters" / "2.png")
    save(base, specify(base, "mine", source=tmp_path / "ml.zip", images=tmp_path / "posters"))
    assert materialize(base, "mine").success
    store = ArtifactStore(base)
    assert store.read("interactions.truth", Cell("mine")).is_empty()
    assert store.read("interactions.images", Cell("mine"))["item"].to_list() == [2]
    rejected = store.read("interactions.rejected", Cell("mine"))
    assert rejected.select("source", "row", "rule").rows() == [("images", 0, "unreadable_image")]


def test_a_broken_source_fails_before_anything_is_written(tmp_path):
    base = str(tmp_path / "storage")
    (tmp_path / "events.csv").write_text("who,what\na,b\n")
    save(base, specify(base, "mine", source=tmp_path / "events.csv"))
    result = materialize(base, "mine", raise_on_error=False)
    assert not result.success
    assert "has no column 'user'" in str(result.failure_data_for_node("raw"))
    assert ArtifactStore(base).leaves() == []


def test_a_data_set_that_is_not_registered_is_refused(tmp_path):
    with pytest.raises(Exception, match="there is no data set 'other'"):
        materialize(str(tmp_path), "other")
