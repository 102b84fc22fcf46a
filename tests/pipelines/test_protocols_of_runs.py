"""Every protocol through the assets: splits, drawn candidates, checks, rankings and reports."""

from pathlib import Path

import polars as pl
import pytest

from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell
from weft.evaluation.protocols import PROTOCOLS, headline

RANKING = [name for name, rule in PROTOCOLS.items() if rule.kind == "ranking" and name != "predefined"]


def test_every_ranking_protocol_goes_from_splits_to_the_leaderboard(tiny_storage: Path) -> None:
    result = make(tiny_storage, "popularity", "oracle", protocols=RANKING)
    assert result.success
    store = ArtifactStore(tiny_storage)
    for name in RANKING:
        cell = Cell("tiny", name, "offline", "full", 0)
        splits = store.read("interactions.splits", cell.of_protocol())
        rankings = store.read("baselines.popularity_rankings", cell)
        assert rankings["query"].sort().to_list() == splits.filter("target")["row"].sort().to_list()
        sampled, sessions = PROTOCOLS[name].samples, PROTOCOLS[name].grouped_by == "session"
        assert store.exists("interactions.negatives", cell.of_protocol()) == sampled
        assert store.exists("baselines.oracle_rankings", cell) != sessions, "the oracle knows users alone"
        assert (rankings["user"] == 0).all() == sessions
        if name == "paper_candidates_20":
            assert rankings["candidates"].max() == 20
    board = store.read("reports.leaderboard", Cell("tiny"))
    assert set(board["protocol"]) == set(RANKING)


@pytest.mark.parametrize("comes_split", [True, False])
def test_a_negative_control_says_so_and_is_never_a_headline(comes_split: bool) -> None:
    controls = {name for name, rule in PROTOCOLS.items() if rule.control}
    assert controls == {"paper_leaky"}
    assert all(PROTOCOLS[name].title.startswith("Negative control") for name in controls)
    assert headline(comes_split=comes_split) not in controls


def test_what_leaks_and_what_is_not_asked_stands_beside_the_splits(tiny_storage: Path) -> None:
    result = make(tiny_storage, protocols=["paper_leaky", "sessions"])
    assert result.success
    (made,) = result.asset_materializations_for_node("interactions__splits")[-1:]
    assert made.metadata["paper_leaky: negative control"].value == PROTOCOLS["paper_leaky"].control
    splits = ArtifactStore(tiny_storage).read("interactions.splits", Cell("tiny", "sessions"))
    held = splits.filter(pl.col("split").is_in(["validation", "test"]))
    unasked = held["session"].n_unique() - held["target"].sum()
    assert made.metadata["sessions: not asked, item unseen in training"].value == unasked
