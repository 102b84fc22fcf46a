"""Where later stages compute: on the accelerator's device, with its threads, and they say so."""

from pathlib import Path

import pytest
import torch

from assets import fitting
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from tests.assets.shop import open_shop
from tests.pipelines.running import make
from weft.cells import Cell
from weft.models.itemknn import ItemKNN
from weft.models.registry import entry
from weft.models.sasrec import SASRec, SASRecNetwork
from weft.models.settings import SASRecSettings

CELL = Cell("shop", "leave_one_out", "offline", "full", 0)


def test_a_model_is_loaded_onto_the_accelerators_device_and_the_rankings_tell_the_true_one(
    tiny_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_shop(tiny_storage)
    assert make(tiny_storage, "itemknn", dataset="shop").success
    store, moved = ArtifactStore(tiny_storage), []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    _, told = fitting.load(entry("itemknn"), store, CELL, Accelerator())
    assert told["device"] == "cpu"  # it has nothing to move

    monkeypatch.setattr(ItemKNN, "to", lambda _, device: moved.append(device) or device)
    _, told = fitting.load(entry("itemknn"), store, CELL, Accelerator())
    assert (moved, told["device"]) == (["cuda"], "A GPU")
    _, told = fitting.load(entry("itemknn"), store, CELL, Accelerator(device="cpu"))
    assert (moved, told["device"]) == (["cuda", "cpu"], "cpu")


def test_threads_hold_in_every_stage() -> None:
    before = torch.get_num_threads()
    try:
        with Accelerator(threads=before + 1).yield_for_execution(None):  # type: ignore[arg-type]
            assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_sasrec_moves_its_network() -> None:
    model = SASRec(SASRecSettings(width=4, length=2))
    model.module = SASRecNetwork(model.settings, 3)
    assert model.to("meta") == "meta"
    assert {parameter.device.type for parameter in model.module.parameters()} == {"meta"}
