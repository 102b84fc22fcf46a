"""Data that lack what a system needs: it makes nothing, says so, and everything else goes on."""

import logging
from pathlib import Path

import pytest

from resources.artifacts import ArtifactStore
from tests.assets.shop import open_shop
from tests.pipelines.running import make
from weft.cells import Cell


def test_without_truth_and_times_the_other_systems_are_reported_and_served(
    tiny_storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_shop(tiny_storage, times=False)
    with caplog.at_level(logging.WARNING):
        assert make(tiny_storage, "popularity", "recent_popularity", "oracle", dataset="shop").success
    store = ArtifactStore(tiny_storage)
    assert set(store.read("reports.metrics", Cell("shop"))["system"]) == {"popularity"}
    assert store.exists("serving.recommendations", Cell("shop"))
    assert not store.leaves("baselines.recent_popularity*")
    assert not store.leaves("baselines.oracle_rankings")
    assert "shop has no planted truth" in caplog.text
    assert "recent_popularity needs timestamps" in caplog.text
