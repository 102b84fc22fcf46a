"""Every protocol through the assets: splits, drawn candidates, checks, rankings and reports."""

from pathlib import Path

import polars as pl
import pytest

from pipelines.cli import invoke
from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell
from weft.evaluation.protocols import PROTOCOLS, headline
from weft.reporting.labels import protocol_label

RANKING = [name for name, rule in PROTOCOLS.items() if rule.kind == "ranking" and name != "predefined"]


def test_every_ranking_protocol_goes_from_splits_to_the_leaderboard(tiny_storage: Path) -> None:
    result = make(tiny_storage, "popularity", "oracle", protocols=RANKING)
    assert result.success
    store = ArtifactStore(str(tiny_storage))
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
    splits = ArtifactStore(str(tiny_storage)).read("interactions.splits", Cell("tiny", "sessions"))
    held = splits.filter(pl.col("split").is_in(["validation", "test"]))
    unasked = held["session"].n_unique() - held["target"].sum()
    assert made.metadata["sessions: not asked, item unseen in training"].value == unasked


@pytest.mark.parametrize("name", ["paper_leaky", "paper_999_sampled"])
def test_the_fit_of_a_negative_control_or_of_drawn_candidates_is_never_served(tiny_storage: Path, name: str) -> None:
    make(tiny_storage, "popularity", protocols=[name])
    store = ArtifactStore(str(tiny_storage))
    assert store.exists("baselines.popularity_rankings", Cell("tiny", name, "offline", "full", 0))
    assert not store.exists("serving.recommendations", Cell("tiny"))


@pytest.mark.slow
def test_a_run_of_a_negative_control_succeeds_and_serves_nobody(tiny_storage: Path) -> None:
    assert invoke(["run", "-d", "tiny", "--systems", "popularity", "--protocols", "paper_leaky"]) == 0
    store = ArtifactStore(str(tiny_storage))
    assert store.exists("baselines.popularity_rankings", Cell("tiny", "paper_leaky", "offline", "full", 0))
    assert not store.exists("serving.recommendations", Cell("tiny"))


def test_what_a_person_reads_calls_a_negative_control_by_its_name() -> None:
    assert protocol_label("sessions") == "sessions"
    assert protocol_label("paper_leaky").startswith("paper_leaky (negative control: held-out rows choose")
