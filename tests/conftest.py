"""Shared fixtures."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: two test processes on two cores
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")

from pathlib import Path

import pytest

from weft.data import registry


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data sets that WEFT_TEST_DATA names."""
    folder = os.environ.get("WEFT_TEST_DATA")
    if not folder:
        pytest.skip("WEFT_TEST_DATA names no folder with real data")
    return Path(folder)


@pytest.fixture
def tiny_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh storage with the data set ``tiny``: the storefront in its smallest size."""
    storage = tmp_path / "storage"
    registry.register_built_in(str(storage))
    registry.save(
        str(storage), registry.specify(str(storage), "tiny", format="storefront", settings={"preset": "tiny"})
    )
    monkeypatch.setenv("WEFT_STORAGE", str(storage))
    return storage
