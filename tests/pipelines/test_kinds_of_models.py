"""A model that learns from labelled pairs alone, through the real stages and on the command line."""

from pathlib import Path

import polars as pl
import pytest

from assets import serving
from pipelines import runs
from pipelines.definitions import build_defs
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from tests.pipelines.running import make
from weft.cells import Cell
from weft.data import registry
from weft.errors import RequestError

QUICK = {"behaviour__din": {"config": {"epochs": 1, "width": 8, "hidden": 8}}}


def test_it_is_fitted_and_scored_under_pointwise_protocols_and_left_alone_under_the_others(tiny_storage: Path) -> None:
    assert make(tiny_storage, "din", protocols=["leave_one_out", "pointwise_time"], ops=QUICK).success
    store = ArtifactStore(tiny_storage)
    for asset in ("behaviour.din", "behaviour.din_scored_pairs"):
        assert [leaf.cell.protocol for leaf in store.leaves(asset, dataset="tiny")] == ["pointwise_time"]


def test_it_is_not_served_where_there_is_a_model_that_ranks(
    tiny_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make(tiny_storage, "din", "popularity", protocols=["pointwise_time"], ops=QUICK).success
    store, wanted = (
        ArtifactStore(tiny_storage),
        Cells(data_source=DataSource(base=str(tiny_storage)), protocols=["pointwise_time"]),
    )
    better = pl.when(pl.col("system") == "din").then(1.0).otherwise(0.5)
    figures = store.read("reports.metrics", Cell("tiny")).with_columns(value=better)
    monkeypatch.setattr(ArtifactStore, "read", lambda *_: figures)
    monkeypatch.setattr(Cells, "headline", lambda *_: "pointwise_time")
    assert serving.chosen(store, wanted, "tiny", serving.BEST)[0] == "popularity"
    assert serving.chosen(store, wanted, "tiny", "din")[0] == "din"


def test_there_is_no_table_of_its_rankings() -> None:
    keys = {key.to_user_string() for key in build_defs().resolve_asset_graph().get_all_asset_keys()}
    assert "behaviour/din_scored_pairs" in keys
    assert "behaviour/din_rankings" not in keys


def _protocols(storage: Path, systems: str, protocols: str) -> list[str]:
    spec = registry.specify(str(storage), "shop", format="storefront")
    asked = {"variants": "full", "seeds": "0", "profile": "offline", "settings": {}}
    return runs.request(spec, systems=systems, protocols=protocols, **asked).protocols


def test_asked_for_by_itself_it_needs_a_protocol_that_judges_pairs_and_has_one_by_default(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="din needs a pointwise protocol"):
        _protocols(tmp_path, "din", "leave_one_out")
    assert "pointwise_time" in _protocols(tmp_path, "din", "")
    assert _protocols(tmp_path, "din", "leave_one_out,pointwise_time") == ["leave_one_out", "pointwise_time"]
    assert _protocols(tmp_path, "din,popularity", "leave_one_out") == ["leave_one_out"], (
        "beside others it is left alone"
    )


def test_on_data_without_ratings_it_cannot_work(tmp_path: Path) -> None:
    plain = registry.specify(str(tmp_path), "mine", source="a.tsv", format="sequence-tsv")
    with pytest.raises(RequestError, match="din needs ratings"):
        runs.chosen_systems("din", plain)
    assert "din" not in runs.chosen_systems("baselines", plain)
