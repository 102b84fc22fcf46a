"""A tiny image-text model trained for a moment, as the house trains its own."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from weft.training.runtime import Runtime
from weft.vision.house import train
from weft.vision.settings import HouseVisionSettings

CPU = Runtime(device="cpu", threads=1, seed=3)
TINY = HouseVisionSettings(
    drawings=160, epochs=2, batch=16, side=32, vision_width=4, width=32, layers=1, context=16, vocabulary=400
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder and the history of its training."""
    folder = tmp_path_factory.mktemp("vision") / "model"
    return folder, train(folder, TINY, CPU)
