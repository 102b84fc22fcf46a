"""Unfinished fits: what may go on, what starts over, and that two runs of one cell do not meet."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from assets import fitting
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.errors import LockedError
from weft.evaluation.protocols import protocol
from weft.models.registry import entry
from weft.models.settings import ItemKNNSettings, ModelSettings
from weft.schemas import TrainingHistory
from weft.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

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
