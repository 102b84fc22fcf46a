"""Data that lack what a system needs: it makes nothing, says so, and everything else goes on."""

from pathlib import Path

from resources.artifacts import ArtifactStore
from tests.assets.shop import open_shop
from tests.pipelines.running import make
from weft.cells import Cell


def test_without_truth_and_times_the_other_systems_are_reported_and_served(
    tiny_storage: Path,
) -> None:
    open_shop(tiny_storage, times=False)
    assert make(tiny_storage, "popularity", "recent_popularity", "oracle", dataset="shop").success
    store = ArtifactStore(tiny_storage)
    assert set(store.read("reports.metrics", Cell("shop"))["system"]) == {"popularity"}
    assert store.exists("serving.recommendations", Cell("shop"))
    assert not store.leaves("baselines.recent_popularity*")
    assert not store.leaves("baselines.oracle_rankings")
