"""What reaches a fit of CIT-Rec, and what its leaves say of it: nothing is tuned here."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets import cit_rec, cit_rec_stages
from assets.cit_rec_material import Given, attributes, given
from assets.partitions import DATASETS
from pipelines.definitions import default_resources
from resources import model_folders, weights
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from resources.language_model import LanguageModel
from tests.assets.test_cit_rec import ALIGNED, FULL, STATES, column, plant, read
from tests.language.conftest import tiny_folder
from weft.systems import plain_network
from weft.systems.settings import PlainNetworkSettings
from weft.training.runtime import Runtime

PROMPTS = {"cit_rec__prompts": {"rows": 40, "history": 1}}
PLAIN = replace(FULL, variant="plain_network")


def run(
    storage: Path, *assets: Any, model: Path | None = None, config: Any = None, **cells: Any
) -> dg.ExecuteInProcessResult:
    resources = {
        **default_resources(str(storage)),
        "cells": Cells(data_source=DataSource(base=str(storage)), protocols=["pointwise_time"], **cells),
        "accelerator": Accelerator(device="cpu"),
        "language_model": LanguageModel(name=str(model or "")),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, ["tiny"])
        return dg.materialize(
            list(assets),
            resources=resources,
            partition_key="tiny",
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {name: {"config": each} for name, each in (config or {}).items()},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
        )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts of two variants and two seeds."""
    storage = tmp_path_factory.mktemp("cells") / "storage"
    plant(storage)
    store = ArtifactStore(storage)
    for asset, cell in (("behaviour.user_states", STATES), ("alignment.aligned_items", ALIGNED)):
        made_from = "interactions.splits" if asset.startswith("behaviour") else "interactions.items"
        place = FULL.of_protocol() if asset.startswith("behaviour") else FULL.of_dataset()
        store.write(asset, cell.with_seed(1), store.read(asset, cell), provenance=read(store, made_from, place))
    variants = ["full", "plain_network"]
    assert run(storage, cit_rec.prompts, config=PROMPTS, variants=variants, seeds=[0, 1]).success
    return storage


@pytest.fixture
def store(planted: Path) -> ArtifactStore:
    return ArtifactStore(planted)


def found(store: ArtifactStore, cell: Any) -> Given:
    return given(store, Cells(data_source=DataSource(base=str(store.base)), protocols=["pointwise_time"]), cell)


class _Seen(Exception):  # noqa: N818 - no error, an end
    """Enough was seen."""


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Given, Runtime]]]:
    """What every fit is handed; none goes on."""
    seen: list[tuple[Given, Runtime]] = []

    def fit(of: Given, _settings: Any, _model: Any, runtime: Runtime, _device: str) -> cit_rec_stages.Tuned:
        seen.append((of, runtime))
        raise _Seen

    monkeypatch.setattr(cit_rec_stages, "fit", fit)
    return seen


def test_the_plain_network_learns_training_rows_and_is_picked_by_validation_rows(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, handed = found(store, PLAIN), []
    monkeypatch.setattr(plain_network, "train", lambda *args: handed.append(args) or (_ for _ in ()).throw(_Seen))
    with pytest.raises(_Seen):
        cit_rec_stages.fit(of, PlainNetworkSettings(), None, Runtime(device="cpu"), "cpu")
    ((users, items, labels, held, *_),) = handed
    states = dict(store.read("behaviour.user_states", STATES).select("row", "vector").iter_rows())
    aligned = store.read("alignment.aligned_items", ALIGNED).sort("item")["vector"].to_numpy()
    spread = (aligned - aligned.mean(axis=0)) / aligned.std(axis=0)
    for split, (user, item, label) in (("train", (users, items, labels)), ("validation", held)):
        rows = store.read("cit_rec.prompts", PLAIN).filter(split=split)
        np.testing.assert_array_equal(user, np.array([states[row] for row in rows["row"]], np.float32))
        np.testing.assert_allclose(item, spread[rows["item"].to_numpy() - 1], atol=1e-4)
        assert label.tolist() == rows["label"].to_list()


def test_warm_is_a_pair_whose_user_and_item_both_have_a_training_row(store: ArtifactStore) -> None:
    of = found(store, PLAIN)
    held = of.prompts.filter(pl.col("split") != "train")
    # Nobody is cold here: a few users and items are made so.
    cold_user, cold_item = held["user"][0], held["item"][-1]
    train = (pl.col("split") == "train") & ((pl.col("user") == cold_user) | (pl.col("item") == cold_item))
    splits = of.material.splits.filter(~train)
    of = replace(of, material=replace(of.material, splits=splits))
    got = cit_rec_stages._pairs(of, held, np.zeros(len(held)))
    known = splits.filter(split="train")
    users, items = set(known["user"]), set(known["item"])
    expected = [user in users and item in items for user, item in held.select("user", "item").iter_rows()]
    assert got["warm"].to_list() == expected
    sides = {(user in users, item in items) for user, item in held.select("user", "item").iter_rows()}
    assert {(True, False), (False, True)} <= sides


def test_rows_are_drawn_and_fits_are_seeded_by_the_seed_of_their_cell(store: ArtifactStore, fits: list) -> None:
    drawn = [store.read("cit_rec.prompts", PLAIN.with_seed(seed)).filter(split="train")["row"] for seed in (0, 1)]
    assert len(drawn[0]) == len(drawn[1]) == 40
    assert not drawn[0].equals(drawn[1])
    for seed in (0, 1):
        run(Path(str(store.base)), cit_rec.adapter, variants=["plain_network"], seeds=[seed])
    assert [runtime.seed for _, runtime in fits] == [0, 1]


def test_unfinished_work_lies_under_all_that_a_fit_is_made_from(
    store: ArtifactStore, fits: list, tmp_path: Path
) -> None:
    """Another model, or other vectors under the same prompts: what was begun is of no use."""
    storage, models = Path(str(store.base)), [tiny_folder(tmp_path / f"m{k}", "llama", seed=k) for k in (0, 1)]

    def begun(model: Path) -> Path:
        run(storage, cit_rec.adapter, model=model, variants=["full"])
        work = fits[-1][1].work
        assert work is not None
        return work

    first = begun(models[0])
    assert begun(models[0]) == first
    assert begun(models[1]) != first
    aligned = store.read("alignment.aligned_items", ALIGNED)
    turned = aligned.with_columns(vector=column(-aligned["vector"].to_numpy()))
    made_from = read(store, "interactions.items", FULL.of_dataset())
    store.write("alignment.aligned_items", ALIGNED, turned, provenance=made_from)
    assert begun(models[0]) != first
    store.write("alignment.aligned_items", ALIGNED, aligned, provenance=made_from)
    assert begun(models[0]) == first


def test_a_configuration_is_that_of_the_prompts_and_of_the_fit(store: ArtifactStore) -> None:
    of = found(store, PLAIN)

    def digest(of: Given, **settings: Any) -> str:
        return attributes(of, PlainNetworkSettings(**settings), "cpu")["config_digest"]

    assert digest(of) == digest(of)
    assert len({digest(of), digest(of, hidden=64), digest(replace(of, prompt_settings='{"history": 9}'))}) == 3


def test_as_many_parameters_are_told_as_were_trained(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of = found(store, FULL)
    arrays = {"lora_A": np.zeros((2, 5), np.float32), "lora_B": np.zeros((3, 2), np.float32)}
    config = {f"{model_folders.FILE}adapter_config.json": np.zeros(9, np.uint8)}
    folder = pl.concat([weights.to_table(arrays), weights.to_table(config)])
    maps = {"maps.user": np.zeros((4, 7), np.float32)}
    history = pl.DataFrame()
    monkeypatch.setattr(cit_rec_stages, "_tune", lambda *_: (maps, history, folder))
    model = LanguageModel(name=str(tiny_folder(tmp_path / "m", "llama"))).adapted(
        store, Cells(data_source=DataSource(base=str(store.base))).models(), "cit_rec", "cpu"
    )
    made = cit_rec_stages.fit(of, PlainNetworkSettings(), model, Runtime(device="cpu"), "cpu")
    assert made.attributes["parameters"] == str(2 * 5 + 3 * 2 + 4 * 7)


def test_without_a_training_row_that_has_a_state_there_is_nothing_to_learn_from(
    store: ArtifactStore, fits: list
) -> None:
    here = FULL.with_seed(5)
    states = store.read("behaviour.user_states", STATES).filter(pl.col("split") != "train")
    made_from = read(store, "interactions.splits", FULL.of_protocol())
    store.write("behaviour.user_states", STATES.with_seed(5), states, provenance=made_from)
    assert run(Path(str(store.base)), cit_rec.prompts, config=PROMPTS, variants=["text_only"], seeds=[5]).success
    failed = run(Path(str(store.base)), cit_rec.adapter, variants=["text_only"], seeds=[here.seed])
    assert "no training row has a user state" in str(failed.failure_data_for_node("cit_rec__adapter"))
    assert not fits


def test_prompts_that_were_written_anew_are_not_scored_by_what_was_fitted_on_the_old_ones(store: ArtifactStore) -> None:
    storage, cells = Path(str(store.base)), {"variants": ["plain_network"], "seeds": [1]}
    assert run(storage, cit_rec.adapter, cit_rec.scored_pairs, **cells).success
    anew = {"cit_rec__prompts": {"rows": 40, "history": 0}}
    assert run(storage, cit_rec.prompts, config=anew, **cells).success
    failed = run(storage, cit_rec.scored_pairs, **cells)
    assert "cit_rec.projections" in str(failed.failure_data_for_node("cit_rec__scored_pairs"))
    assert "other data" in str(failed.failure_data_for_node("cit_rec__scored_pairs"))
    assert run(storage, cit_rec.prompts, config=PROMPTS, **cells).success
