"""Unfinished fits: what may go on, what starts over, and that two runs of one cell do not meet."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from assets import fitting
from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell
from weft.errors import LockedError
from weft.evaluation.protocols import protocol
from weft.models.registry import entry
from weft.models.settings import ItemKNNSettings, ModelSettings
from weft.schemas import TrainingHistory
from weft.training import loop
from weft.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, seconds_before

ASSET = "baselines.itemknn"
CELL = Cell("shop", "leave_one_out", "offline", "full", 0)
GIVEN = fitting.Material(protocol("leave_one_out"), pl.DataFrame(), "of-today", n_users=3, n_items=4)
CPU = ("cpu", "32-true")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path, lock_timeout=0.1)


def folder(
    store: ArtifactStore,
    settings: ModelSettings | None = None,
    given: fitting.Material = GIVEN,
    computes: tuple[str, str] = CPU,
    version: str = "1",
    log: list[str] | None = None,
) -> Path:
    told = [] if log is None else log
    return fitting.work_folder(store, ASSET, CELL, settings or ItemKNNSettings(), given, computes, version, told.append)


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": ItemKNNSettings(shrink=1)},
        {"given": replace(GIVEN, splits_digest="of-tomorrow")},
        {"given": replace(GIVEN, n_users=4)},
        {"given": replace(GIVEN, n_items=5)},
        {"given": replace(GIVEN, protocol=protocol("global_time"))},
        {"computes": ("a GPU", "32-true")},
        {"computes": ("cpu", "bf16-mixed")},
        {"version": "2"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_fit_goes_on_unchanged_and_starts_over_with_a_word_after_any_change(
    changed: dict, store: ArtifactStore
) -> None:
    log: list[str] = []
    before = folder(store)
    before.mkdir(parents=True)
    assert folder(store, log=log) == before
    assert not log
    after = folder(store, **changed, log=log)
    assert after != before
    assert not before.exists()
    assert "starting over" in log[0]


def test_a_checkpoint_of_another_network_leaves_the_new_one_as_it_was_drawn(tmp_path: Path) -> None:
    def network(items: int) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, items))

    old, new = network(3), network(4)
    save_checkpoint(tmp_path, Checkpoint(epoch=1), old, torch.optim.AdamW(old.parameters()))
    drawn = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    assert load_checkpoint(tmp_path, new, torch.optim.AdamW(new.parameters())) is None
    assert all(torch.equal(tensor, drawn[name]) for name, tensor in new.state_dict().items())


def test_seconds_of_a_fit_are_those_of_all_its_runs(tiny_storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted() -> bool:
        quick = {"behaviour__gru4rec": {"config": {"epochs": 3, "width": 8, "hidden": 8}}}
        return make(tiny_storage, "gru4rec", protocols=["leave_one_out"], ops=quick).success

    trained = loop._train_epoch

    def killed_in(epoch: int) -> None:
        def train(*given: Any) -> tuple[float, float]:
            if given[4] == epoch:
                raise KeyboardInterrupt
            return trained(*given)

        with monkeypatch.context() as broken:
            broken.setattr(loop, "_train_epoch", train)
            assert not fitted()

    killed_in(1)
    (work,) = (tiny_storage / ".work").rglob("fit.safetensors")
    assert 0 < seconds_before(work.parent) < 60
    age(work, hours=1)
    killed_in(2)
    assert 3600 < seconds_before(work.parent) < 3660
    assert fitted()
    cell = Cell("tiny", "leave_one_out", "offline", "full", 0)
    assert 3600 < float(ArtifactStore(tiny_storage).footer("behaviour.gru4rec", cell)["seconds_fit"]) < 3660


def test_a_checkpoint_that_is_cut_off_has_cost_nothing(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    save_checkpoint(tmp_path, Checkpoint(epoch=1, seconds=5.0), network, torch.optim.AdamW(network.parameters()))
    assert seconds_before(tmp_path) == 5.0
    file = tmp_path / "fit.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    assert seconds_before(tmp_path) == 0.0
    assert seconds_before(None) == 0.0


def age(file: Path, hours: float) -> None:
    """Makes a checkpoint tell that so much more time went into it."""
    with safe_open(file, framework="pt") as opened:
        standing = json.loads(opened.metadata()["standing"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    standing["seconds"] += hours * 3600
    save_file(tensors, file, metadata={"standing": json.dumps(standing)})


def test_a_second_run_of_one_cell_does_not_touch_the_first_ones_work(store: ArtifactStore) -> None:
    refused: list[str] = []

    def second() -> None:
        try:
            with fitting.alone(store, ASSET, [CELL, CELL], "second"):
                pass
        except LockedError as error:
            refused.append(str(error))

    with fitting.alone(store, ASSET, [CELL, CELL], "first"):
        other = threading.Thread(target=second)
        other.start()
        other.join()
    assert "run first" in refused[0]
    second()
    assert len(refused) == 1


def test_a_fit_that_was_cut_off_while_it_was_kept_is_no_finished_fit(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = folder(store)
    weights = fitting.weights.to_table({"counts": np.arange(3)})
    fitted = fitting.Fitted(weights, TrainingHistory.create_empty(), {"system": entry("itemknn").name})
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left on device")))
        with pytest.raises(OSError, match="no space"):
            fitting._finish(work, fitted)
    assert not list(work.glob("[!.]*"))  # nothing stands under its final name
    assert fitting._finished(work) is None
    fitting._finish(work, fitted)
    assert fitting._finished(work).weights.equals(weights)
    fitting.forget(work)
    assert not work.parent.exists()
