"""Cells: a run replaces its own leaves, and reports show whatever stands in storage."""

from pathlib import Path

import polars as pl
import pytest

from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell
from weft.models.itemknn import ItemKNN

SASREC = {"behaviour__sasrec": {"config": {"width": 8, "epochs": 2, "length": 10}}}


def cell(seed: int = 0, protocol: str = "leave_one_out") -> Cell:
    return Cell("tiny", protocol, "offline", "full", seed)


def measured(store: ArtifactStore) -> list[tuple]:
    """Who stands in ``reports.metrics`` under which protocol and seed."""
    return sorted(store.read("reports.metrics", Cell("tiny")).select("system", "protocol", "seed").unique().rows())


def test_one_system_then_another_then_the_first_with_a_second_seed_all_stand(tiny_storage: Path) -> None:
    store = ArtifactStore(tiny_storage)
    assert make(tiny_storage, "popularity").success
    assert make(tiny_storage, "itemknn", ingest=False).success
    assert make(tiny_storage, "popularity", seeds=[1], ingest=False).success
    assert measured(store) == [
        ("itemknn", "leave_one_out", 0), ("popularity", "leave_one_out", 0), ("popularity", "leave_one_out", 1),
    ]  # fmt: skip

    # The first again replaces its own leaf alone, with equal data; the reports do not move.
    before = {(leaf.asset, leaf.cell): leaf for leaf in store.leaves()}
    written = {key: leaf.path.stat().st_mtime_ns for key, leaf in before.items()}
    assert make(tiny_storage, "popularity", ingest=False).success
    after = {(leaf.asset, leaf.cell): leaf for leaf in store.leaves()}
    timed = ("reports.cost", Cell("tiny"))  # what it tells is how long things took
    assert after.keys() == before.keys()
    assert {key for key, leaf in after.items() if leaf.digest != before[key].digest} <= {timed}
    changed = {key for key, leaf in after.items() if leaf.path.stat().st_mtime_ns != written[key]}
    assert {key for key in changed if key[0].startswith("baselines.")} == {
        ("baselines.popularity", cell()), ("baselines.popularity_rankings", cell()),
    }  # fmt: skip


def test_a_second_protocol_stands_beside_the_first(tiny_storage: Path) -> None:
    assert make(tiny_storage, "popularity", protocols=["leave_one_out", "global_time"], seeds=[0, 1]).success
    store = ArtifactStore(tiny_storage)
    assert measured(store) == [("popularity", p, s) for p in ("global_time", "leave_one_out") for s in (0, 1)]
    board = store.read("reports.leaderboard", Cell("tiny"))
    assert board.select("protocol", "seeds").rows() == [("global_time", 2), ("leave_one_out", 2)]


def test_a_fit_gives_weights_history_rankings_and_vectors_with_their_story(tiny_storage: Path) -> None:
    result = make(tiny_storage, "sasrec", "oracle", ops=SASREC)
    assert result.success
    store = ArtifactStore(tiny_storage)
    assert store.read("behaviour.sasrec_history", cell())["epoch"].to_list() == [1, 2]
    rankings = store.read("behaviour.sasrec_rankings", cell())
    assert rankings["split"].unique().sort().to_list() == ["validation", "test"]
    assert store.read("behaviour.item_embeddings", cell()).schema["vector"] == pl.Array(pl.Float32, 8)
    assert (
        store.read("behaviour.user_embeddings", cell()).height == store.read("interactions.users", Cell("tiny")).height
    )
    footer = store.footer("behaviour.sasrec_rankings", cell())
    told = {
        "system",
        "protocol_digest",
        "config_digest",
        "settings",
        "device",
        "seconds_fit",
        "seconds_score",
        "parameters",
    }
    assert told <= set(footer)
    assert footer["system"] == "sasrec"
    assert "behaviour.sasrec" in footer["inputs"]  # what was read, with its digest
    assert not list((tiny_storage / ".work").iterdir())  # resume state is gone once the fit is committed
    assert not [file for file in tiny_storage.rglob("*") if file.suffix in {".pkl", ".pickle", ".pt", ".ckpt"}]

    board = store.read("reports.leaderboard", Cell("tiny"))
    assert board["system"][0] == "oracle"  # nobody beats the planted truth
    assert board["value"][0] > 2 * board["value"][1]


def test_settings_of_a_run_reach_the_fit_and_bad_ones_stop_it(tiny_storage: Path) -> None:
    result = make(tiny_storage, "itemknn", ops={"baselines__itemknn": {"config": {"neighbours": 0}}})
    assert not result.success
    assert not ArtifactStore(tiny_storage).leaves("baselines.itemknn")


def test_a_fit_that_was_finished_but_not_committed_is_not_repeated(
    tiny_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, fit, write = [], ItemKNN.fit, ArtifactStore.write

    def counted(model: ItemKNN, *given: object) -> pl.DataFrame:
        fits.append(model)
        return fit(model, *given)

    def full_disk(store: ArtifactStore, asset: str, *given: object, **named: object) -> object:
        if asset == "baselines.itemknn":
            raise OSError("no space left on device")
        return write(store, asset, *given, **named)

    monkeypatch.setattr(ItemKNN, "fit", counted)
    with monkeypatch.context() as broken:
        broken.setattr(ArtifactStore, "write", full_disk)
        assert not make(tiny_storage, "itemknn").success
    assert make(tiny_storage, "itemknn", ingest=False).success
    assert len(fits) == 1
    assert make(tiny_storage, "itemknn", ingest=False).success  # asked for again after the commit, it is fitted again
    assert len(fits) == 2
