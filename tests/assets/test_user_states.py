"""States through the assets: what reaches them when rows of the splits change, and what the leaves say."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets import fitting
from assets.partitions import DATASETS
from assets.user_states import states as user_states
from pipelines.definitions import default_resources
from resources.artifacts import ArtifactStore
from tests.pipelines.running import make as ingest
from weft.cells import Cell
from weft.data import registry
from weft.models.user_states import without_later

QUICK = {"epochs": 1, "width": 8, "blocks": 1}
PLACE = Cell("tiny", "pointwise_time")
HERE = Cell("tiny", "pointwise_time", "offline", seed=0)
STATES, SPLITS = "behaviour.user_states", "interactions.splits"


def make(
    store: ArtifactStore, *protocols: str, seeds: tuple[int, ...] = (0,), **config: object
) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, ["tiny"])
        return dg.materialize(
            [user_states],
            partition_key="tiny",
            instance=instance,
            resources=default_resources(str(store.base)),
            run_config={
                "ops": {"behaviour__user_states": {"config": {**QUICK, **config}}},
                "resources": {"cells": {"config": {"seeds": list(seeds), "protocols": list(protocols)}}},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
            raise_on_error=False,
        )


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with the splits of the tiny storefront."""
    storage = tmp_path_factory.mktemp("states") / "storage"
    registry.register_built_in(str(storage))
    tiny = registry.specify(str(storage), "tiny", format="storefront", settings={"preset": "tiny"})
    registry.save(str(storage), tiny)
    assert ingest(storage, protocols=["pointwise_time", "paper_tallrec_blocks"]).success
    return storage


@pytest.fixture(scope="module")
def splits(ingested: Path) -> pl.DataFrame:
    return ArtifactStore(str(ingested)).read(SPLITS, PLACE)


@pytest.fixture
def after(ingested: Path, splits: pl.DataFrame) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The states that the assets make of other splits than were ingested."""
    store = ArtifactStore(str(ingested))

    def states_of(changed: pl.DataFrame) -> pl.DataFrame:
        store.write(SPLITS, PLACE, changed)
        assert make(store).success
        store.write(SPLITS, PLACE, splits)
        return store.read(STATES, HERE)

    return states_of


@pytest.fixture(scope="module")
def standing(ingested: Path) -> pl.DataFrame:
    store = ArtifactStore(str(ingested))
    assert make(store).success
    return store.read(STATES, HERE)


def _vectors(table: pl.DataFrame) -> np.ndarray:
    return table["vector"].to_numpy()


def _with(splits: pl.DataFrame, rows: list[int], **columns: pl.Expr) -> pl.DataFrame:
    here = pl.col("row").is_in(rows)
    changed = [pl.when(here).then(value).otherwise(name).alias(name) for name, value in columns.items()]
    return splits.with_columns(changed)


ANOTHER = {"item": pl.col("item") % 20 + 1, "label": ~pl.col("label")}


def test_every_row_that_is_judged_later_has_a_state_and_the_leaf_says_how_it_came_about(
    ingested: Path, splits: pl.DataFrame, standing: pl.DataFrame
) -> None:
    early = without_later(splits, 0.5).filter(split="train")
    rows = splits.filter(pl.col("split") != "unused").join(early, on="row", how="anti").sort("row")
    assert standing.select("row", "split", "user").equals(rows.select("row", "split", "user"))
    assert standing.schema["vector"] == pl.Array(pl.Float32, 8)
    assert np.isfinite(_vectors(standing)).all()

    store = ArtifactStore(str(ingested))
    footer = store.footer(STATES, HERE)
    assert footer["system"] == "user_states"
    assert footer["splits_digest"] == store.digest(SPLITS, PLACE)
    assert '"share":0.5' in footer["settings"]
    assert {"config_digest", "device", "seconds_fit", "parameters", "n_items"} <= set(footer)
    assert store.read("behaviour.user_states_history", HERE)["epoch"].to_list() == [1]
    assert fitting.is_current(store, HERE, footer)
    assert not fitting.is_current(store, HERE, {**footer, "splits_digest": "of other splits"})


def test_a_changed_target_or_future_row_changes_no_state(
    splits: pl.DataFrame, standing: pl.DataFrame, after: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    last = splits.filter(pl.col("split") != "unused").sort("timestamp", "row").group_by("user").last()
    rows = last.filter(split="test")["row"].to_list()
    assert rows
    changed = after(_with(splits, rows, **ANOTHER))
    np.testing.assert_array_equal(_vectors(changed), _vectors(standing))


def test_a_changed_past_row_changes_the_states_after_it_alone(
    splits: pl.DataFrame, standing: pl.DataFrame, after: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    later = splits.filter("label", split="train").join(without_later(splits, 0.5), on="row", how="anti")
    past = later.sort("timestamp", "row").row(0, named=True)
    changed = after(_with(splits, [past["row"]], item=pl.col("item") % 20 + 1))
    moved = np.abs(_vectors(changed) - _vectors(standing)).max(axis=1) > 1e-5
    at = past["timestamp"]
    behind = (pl.col("timestamp") > at) | ((pl.col("timestamp") == at) & (pl.col("row") > past["row"]))
    order = standing.join(splits.select("row", "timestamp"), on="row", maintain_order="left")
    expected = order.select((pl.col("user") == past["user"]) & behind).to_series()
    np.testing.assert_array_equal(moved, expected.to_numpy())
    assert moved.any()


def test_labels_of_later_training_rows_do_not_reach_the_fit(
    ingested: Path,
    splits: pl.DataFrame,
    standing: pl.DataFrame,
    after: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    store = ArtifactStore(str(ingested))
    history = store.read("behaviour.user_states_history", HERE)
    later = splits.filter(split="train").join(without_later(splits, 0.5), on="row", how="anti")
    changed = after(_with(splits, later["row"].to_list(), **ANOTHER))
    assert store.read("behaviour.user_states_history", HERE).equals(history)
    first = later.sort("timestamp", "row").group_by("user").first()["row"].to_list()
    both = [table.filter(pl.col("row").is_in(first)) for table in (changed, standing)]
    np.testing.assert_allclose(_vectors(both[0]), _vectors(both[1]), atol=1e-5)
    assert not np.array_equal(_vectors(changed), _vectors(standing))


def test_a_run_that_dies_after_the_fit_does_not_fit_again(ingested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(str(ingested))
    here = HERE.with_seed(7)
    with monkeypatch.context() as broken:
        broken.setattr("assets.user_states.user_states", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        assert not make(store, seeds=(7,)).success
    assert not store.exists(STATES, here)
    with monkeypatch.context() as broken:
        broken.setattr("weft.training.loop._train_epoch", lambda *_: pytest.fail("it was fitted already"))
        assert make(store, seeds=(7,)).success
    assert store.exists(STATES, here)
    assert not [path for path in store.work.rglob("*") if path.is_file()]


def test_each_pointwise_protocol_has_states_of_its_own_and_a_ranking_one_has_none(ingested: Path) -> None:
    store = ArtifactStore(str(ingested))
    assert make(store, "paper_tallrec_blocks", "leave_one_out", seeds=(1,)).success
    made = [leaf.cell for leaf in store.leaves(STATES, seed=1)]
    assert made == [Cell("tiny", "paper_tallrec_blocks", "offline", seed=1)]
    table = store.read(STATES, made[0])
    assert set(table["split"]) == {"train", "validation", "test"}


def test_the_share_decides_who_has_a_state_and_the_seed_what_is_in_it(ingested: Path, splits: pl.DataFrame) -> None:
    store = ArtifactStore(str(ingested))
    assert make(store, seeds=(8, 9), share=0.3).success
    early = without_later(splits, 0.3).filter(split="train")
    rows = splits.filter(pl.col("split") != "unused").join(early, on="row", how="anti").sort("row")["row"]
    first, second = (store.read(STATES, HERE.with_seed(seed)) for seed in (8, 9))
    assert first["row"].equals(rows)
    assert second["row"].equals(rows)
    assert not np.isclose(_vectors(first), _vectors(second), atol=1e-3).all(axis=1).any()


def test_it_takes_a_slot_of_the_gpu_pool_and_its_tags() -> None:
    assert user_states.op.pool == "gpu"
    assert user_states.op.tags["num_gpus"] == "1"


def test_a_share_out_of_bounds_is_refused(ingested: Path) -> None:
    ran = make(ArtifactStore(str(ingested)), share=1.0)
    assert "share" in str(ran.failure_data_for_node("behaviour__user_states"))
