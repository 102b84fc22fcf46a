"""The choice of settings as an asset: what it sees, what it keeps, and how it goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.baselines import material
from assets.trials import held_apart
from pipelines.definitions import build_defs
from pipelines.instance import register_datasets
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from resources.locks import locked
from tests.pipelines.running import make
from weft.cells import Cell
from weft.data.sequences import Events, Task
from weft.evaluation.protocols.leave_one_out import LeaveOneOut
from weft.models.itemknn import ItemKNN
from weft.models.settings import ItemKNNSettings, resolve
from weft.models.settings.tuned import path_of

LEAF = Cell("tiny", "leave_one_out", seed=0)
SMALL = {"sasrec.epochs": 2, "sasrec.width": 8, "sasrec.length": 10, "sasrec.batch": 64}


def tune(
    storage: Path,
    *systems: str,
    protocols: tuple[str, ...] = (),
    precision: str = "auto",
    wait: float = 300.0,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    """The stage alone, on splits that stand."""
    job = build_defs(base=str(storage), executor=dg.in_process_executor).resolve_job_def("tune")
    with dg.DagsterInstance.ephemeral() as instance:
        register_datasets(instance, str(storage))
        return job.execute_in_process(
            partition_key="tiny",
            instance=instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(["behaviour", "trials"])],
            run_config={
                "ops": {"behaviour__trials": {"config": {"systems": list(systems), **config}}},
                "resources": {
                    "cells": {"config": {"protocols": list(protocols)}},
                    "accelerator": {"config": {"precision": precision}},
                    "io_manager": {"config": {"lock_timeout": wait}},
                },
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )


def rows(storage: Path, leaf: Cell = LEAF) -> list[dict[str, Any]]:
    """All that was tried but for the seconds."""
    return ArtifactStore(storage).read("behaviour.trials", leaf).drop("seconds").to_dicts()


class Watchful(LeaveOneOut):
    """Rules that are handed everything but the test split."""

    def events(self, splits: pl.DataFrame, n_users: int, n_items: int) -> Events:
        assert set(splits["split"]) == {"train", "validation"}
        return super().events(splits, n_users, n_items)

    def task(self, splits: pl.DataFrame, *given: Any) -> Task:
        assert set(splits["split"]) == {"train", "validation"}
        return super().task(splits, *given)


@pytest.fixture
def shop(tiny_storage: Path) -> Path:
    assert make(tiny_storage).success
    return tiny_storage


def test_what_is_tried_is_a_table_and_the_best_is_what_the_next_fit_takes(shop: Path) -> None:
    assert tune(shop, "itemknn", "sasrec", trials=4, settings=SMALL).success
    table = ArtifactStore(shop).read("behaviour.trials", LEAF)
    assert table.select("system", "trial").rows() == [(name, n) for name in ("itemknn", "sasrec") for n in range(4)]
    assert set(table["metric"]) == {"ndcg@10"}
    assert table.filter(system="itemknn")["epochs"].sum() == 0
    assert set(table.filter(system="sasrec", state="finished")["epochs"]) == {2}
    fitted = [json.loads(text) for text in table.filter(system="sasrec")["settings"]]
    assert {(each["epochs"], each["width"], each["length"], each["batch"]) for each in fitted} == {(2, 8, 10, 64)}
    assert len({each["learning_rate"] for each in fitted}) > 1

    knn = table.filter(system="itemknn").sort("value", "trial", descending=[True, False]).row(0, named=True)
    chosen = ItemKNNSettings.model_validate_json(knn["settings"])
    assert resolve(ItemKNNSettings, "itemknn", "tiny", {}, "leave_one_out", shop) == chosen
    assert make(shop, "itemknn", ingest=False).success
    store = ArtifactStore(shop)
    footer = store.footer("baselines.itemknn", Cell("tiny", "leave_one_out", "offline", "full", 0))
    assert json.loads(footer["settings"]) == json.loads(knn["settings"])
    validation = store.read("reports.metrics", Cell("tiny")).filter(
        split="validation", metric="ndcg", k=10, slice="all", system="itemknn"
    )
    assert validation["value"][0] == pytest.approx(knn["value"], abs=1e-6), "the very figure that it was chosen by"
    assert not list((shop / ".work").iterdir()), "nothing is left of the search"


def test_no_row_of_the_test_split_can_be_read(shop: Path) -> None:
    """Test rows of items that do not exist would break whoever reads them; the figures stay as they are."""
    assert tune(shop, "itemknn", trials=2).success
    honest = rows(shop)
    store, cells = ArtifactStore(shop), Cells(data_source=DataSource(base=str(shop)))
    splits = store.read("interactions.splits", LEAF.of_protocol())
    assert splits.filter(split="test").height > 20
    cell = cells.of("tiny")[0]
    parts = held_apart(replace(material(store, cells, cell), protocol=Watchful()))
    lost = pl.when(pl.col("split") == "test").then(10**6).otherwise("item").cast(pl.Int32).alias("item")
    store.write("interactions.splits", LEAF.of_protocol(), splits.with_columns(lost))
    events, task = held_apart(material(store, cells, cell))
    np.testing.assert_array_equal(events.item, parts[0].item)
    np.testing.assert_array_equal(task.target, parts[1].target)
    np.testing.assert_array_equal(task.candidates, parts[1].candidates)
    (shop / "tuned" / "tiny.yaml").unlink()  # what was chosen would be where the next search begins
    assert tune(shop, "itemknn", trials=2).success
    kept = [{**row, "study": ""} for row in rows(shop)]  # other data are another study
    assert kept == [{**row, "study": ""} for row in honest]


def test_more_trials_go_on_where_it_stopped_and_another_system_stands_beside(shop: Path) -> None:
    assert tune(shop, "itemknn", trials=3).success
    first = ArtifactStore(shop).read("behaviour.trials", LEAF)
    assert tune(shop, "itemknn", trials=5).success
    more = ArtifactStore(shop).read("behaviour.trials", LEAF)
    assert more.height == 5
    assert more.head(3).equals(first), "their seconds as well: they are not fitted again"
    assert tune(shop, "recent_popularity", trials=2).success
    assert [row["system"] for row in rows(shop)] == ["itemknn"] * 5 + ["recent_popularity"] * 2
    assert tune(shop, "itemknn", trials=2, settings={"itemknn.neighbours": 20}).success
    again = [row for row in rows(shop) if row["system"] == "itemknn"]
    assert len(again) == 2, "another search is another study, and takes the place of the old one"
    assert {json.loads(row["settings"])["neighbours"] for row in again} == {20}


def test_a_stopped_search_goes_on_from_its_finished_trials(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, fits = ItemKNN.fit, []

    def killed(model: ItemKNN, *given: Any) -> pl.DataFrame:
        if len(fits) == 3:
            raise KeyboardInterrupt
        fits.append(model.settings)
        return fit(model, *given)

    with monkeypatch.context() as broken:
        broken.setattr(ItemKNN, "fit", killed)
        assert not tune(shop, "itemknn", trials=6).success
    assert not ArtifactStore(shop).exists("behaviour.trials", LEAF)
    monkeypatch.setattr(ItemKNN, "fit", lambda model, *given: fits.append(model.settings) or fit(model, *given))
    assert tune(shop, "itemknn", trials=6).success
    assert len(fits) == len(set(fits)) == 6, "none is fitted twice"
    assert [json.loads(row["settings"]) for row in rows(shop)] == [each.model_dump(mode="json") for each in fits]
    assert not list((shop / ".work").iterdir())


def test_other_data_begin_another_study(shop: Path) -> None:
    assert tune(shop, "itemknn", trials=2).success
    store = ArtifactStore(shop)
    splits = store.read("interactions.splits", LEAF.of_protocol())
    held = splits.filter(pl.col("split") == "train")["row"].max()
    store.write("interactions.splits", LEAF.of_protocol(), splits.filter(pl.col("row") != held))
    before = rows(shop)
    assert tune(shop, "itemknn", trials=2).success
    assert {row["study"] for row in rows(shop)}.isdisjoint(row["study"] for row in before)


def test_another_precision_begins_another_study(shop: Path) -> None:
    studies = []
    for precision in ("auto", "bf16-mixed"):
        assert tune(shop, "itemknn", trials=1, precision=precision).success
        studies.append({row["study"] for row in rows(shop)})
    assert studies[0].isdisjoint(studies[1])


def test_the_file_of_choices_is_written_by_one_run_at_a_time(shop: Path) -> None:
    store = ArtifactStore(shop)
    path = path_of(shop, "tiny")
    with locked(store.place.lock(path), str(path)):
        result = tune(shop, "itemknn", trials=1, wait=0.1)
    assert not result.success
    assert "is being written by" in str(result.failure_data_for_node("behaviour__trials"))
    assert tune(shop, "itemknn", trials=1).success


def test_labelled_pairs_are_chosen_by_uauc_beside_the_choice_for_rankings(shop: Path) -> None:
    assert make(shop, protocols=["leave_one_out", "pointwise_time"]).success
    assert tune(shop, "itemknn", trials=2, protocols=("leave_one_out", "pointwise_time")).success
    metrics = [set(ArtifactStore(shop).read("behaviour.trials", leaf)["metric"])
               for leaf in (LEAF, Cell("tiny", "pointwise_time", seed=0))]  # fmt: skip
    assert metrics == [{"ndcg@10"}, {"uauc"}]


def test_a_model_without_anything_to_vary_stops_the_run_with_its_name(shop: Path) -> None:
    result = tune(shop, "popularity")
    assert not result.success
    assert "popularity has no setting to vary" in str(result.failure_data_for_node("behaviour__trials"))
