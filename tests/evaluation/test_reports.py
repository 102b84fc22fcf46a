"""The report assets through the public door: leaves in storage, ``dg.materialize``, tables out."""

from pathlib import Path

import dagster as dg
import polars as pl

from assets import reports
from assets.partitions import DATASETS
from resources.storage import ParquetStorage
from tests.evaluation.test_ablations import judged, scores
from tests.evaluation.test_tables import FIRST, LAST, SECOND, outcome
from weft.cells import Cell
from weft.evaluation.tables import Outcome

SHOP = Cell("shop")
ASSETS = [reports.metrics, reports.comparisons, reports.leaderboard, reports.ablations, reports.cost]


def _storage(tmp_path: Path) -> ParquetStorage:
    return ParquetStorage(base=str(tmp_path / "storage"))


def _keep(storage: ParquetStorage, asset: str, leaf: Outcome) -> None:
    storage.store.write(asset, leaf.cell, leaf.frame, attributes=leaf.attributes)


def _report(storage: ParquetStorage) -> dg.ExecuteInProcessResult:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(DATASETS.name, ["shop"])
    return dg.materialize(ASSETS, instance=instance, resources={"io_manager": storage}, partition_key="shop")


def _digests(storage: ParquetStorage) -> list[str]:
    return [storage.store.digest(f"reports.{name}", SHOP) for name in ("metrics", "comparisons", "leaderboard")]


def test_what_was_measured_before_stands_when_another_system_or_seed_comes(tmp_path) -> None:
    storage = _storage(tmp_path)
    systems = []
    for asset, leaf in (
        ("behaviour.sasrec_rankings", outcome("sasrec", [FIRST, SECOND])),
        ("baselines.popularity_rankings", outcome("popularity", [LAST, LAST])),
        ("behaviour.sasrec_rankings", outcome("sasrec", [FIRST, FIRST], seed=1)),
    ):
        _keep(storage, asset, leaf)
        _report(storage)
        table = storage.store.read("reports.metrics", SHOP)
        systems.append(table.select("system", "seed").unique().sort("system", "seed").rows())
    assert systems[0] == [("sasrec", 0)]
    assert systems[1] == [("popularity", 0), ("sasrec", 0)]
    assert systems[2] == [("popularity", 0), ("sasrec", 0), ("sasrec", 1)]
    board = storage.store.read("reports.leaderboard", SHOP)
    assert board.select("place", "system", "seeds").rows() == [(1, "sasrec", 2), (2, "popularity", 1)]
    comparisons = storage.store.read("reports.comparisons", SHOP)
    assert comparisons.select("a", "b", "seed").unique().rows() == [("popularity", "sasrec", 0)]


def test_nothing_new_means_equal_digests_and_a_leaf_made_again_replaces_its_own_rows_only(tmp_path) -> None:
    storage = _storage(tmp_path)
    _keep(storage, "behaviour.sasrec_rankings", outcome("sasrec", [FIRST, SECOND]))
    _keep(storage, "baselines.popularity_rankings", outcome("popularity", [LAST, LAST]))
    _report(storage)
    before = _digests(storage)
    _keep(storage, "behaviour.sasrec_rankings", outcome("sasrec", [FIRST, SECOND]))
    _report(storage)
    assert _digests(storage) == before
    kept = storage.store.read("reports.metrics", SHOP).filter(system="popularity")
    _keep(storage, "behaviour.sasrec_rankings", outcome("sasrec", [LAST, LAST]))
    _report(storage)
    assert _digests(storage)[0] != before[0]
    assert storage.store.read("reports.metrics", SHOP).filter(system="popularity").equals(kept)


def test_the_leaderboard_shows_in_the_ui_and_other_data_sets_stay_out(tmp_path) -> None:
    storage = _storage(tmp_path)
    _keep(storage, "behaviour.sasrec_rankings", outcome("sasrec", [FIRST, SECOND]))
    other = outcome("itemknn", [FIRST, SECOND])
    _keep(
        storage, "baselines.itemknn_rankings", Outcome(Cell("ml-1m", *_rest(other.cell)), other.attributes, other.frame)
    )
    result = _report(storage)
    (event,) = result.asset_materializations_for_node("reports__leaderboard")
    shown = event.metadata["leaderboard"].value
    assert "sasrec" in shown
    assert "itemknn" not in shown
    assert storage.store.read("reports.metrics", SHOP)["system"].unique().to_list() == ["sasrec"]


def test_a_data_set_without_outcomes_gets_empty_reports(tmp_path) -> None:
    storage = _storage(tmp_path)
    _report(storage)
    assert all(pl.DataFrame.is_empty(storage.store.read(f"reports.{asset.key.path[-1]}", SHOP)) for asset in ASSETS)


def test_reports_come_after_the_outcomes_of_every_registered_model() -> None:
    upstream = set(reports.metrics.asset_deps[reports.metrics.key])
    assert dg.AssetKey(["behaviour", "sasrec_rankings"]) in upstream
    assert dg.AssetKey(["baselines", "oracle_rankings"]) in upstream
    assert dg.AssetKey(["behaviour", "sasrec_scored_pairs"]) in upstream
    assert dg.AssetKey(["baselines", "ceiling_rankings"]) in upstream
    assert dg.AssetKey(["cit_rec", "scored_pairs"]) in upstream
    assert dg.AssetKey(["behaviour", "din_scored_pairs"]) in upstream
    assert dg.AssetKey(["behaviour", "din_rankings"]) not in upstream
    assert len(upstream) == 2 * 2 + sum(len(each.kinds) for each in reports.MODELS.values()) + sum(
        len(system.outcomes) for system in reports.SYSTEMS.values()
    )
    for report in (reports.comparisons, reports.ablations, reports.cost):
        assert set(report.asset_deps[report.key]) == upstream


def test_variants_of_a_system_stand_in_every_report_under_their_protocol(tmp_path) -> None:
    storage = _storage(tmp_path)
    for variant, strength, seed in (("full", 1.0, 0), ("without_image", 0.3, 0), ("full", 1.1, 1)):
        _keep(storage, "cit_rec.scored_pairs", judged(variant, scores(seed, strength), seed, seconds_score="1.5"))
    popular = judged("full", scores(5, 0.1), system="popularity")
    _keep(storage, "baselines.popularity_scored_pairs", popular)
    _report(storage)
    board = storage.store.read("reports.leaderboard", SHOP)
    shown = board.select("system", "variant", "protocol", "metric", "seeds").rows()
    assert shown[0] == ("cit_rec", "full", "pointwise_time", "auc", 2)
    assert set(shown[1:]) == {
        ("cit_rec", "without_image", "pointwise_time", "auc", 1), ("popularity", "full", "pointwise_time", "auc", 1),
    }  # fmt: skip
    assert board["ci_low"].null_count() == 0
    compared = storage.store.read("reports.comparisons", SHOP).filter(slice="all", metric="auc", a="cit_rec")
    assert ("full", "cit_rec", "without_image") in compared.select("variant_a", "b", "variant_b").rows()
    ablations = storage.store.read("reports.ablations", SHOP).filter(slice="all")
    assert ablations.select("system", "variant", "seeds").rows() == [("cit_rec", "without_image", 1)]
    cost = storage.store.read("reports.cost", SHOP)
    assert cost.select("system", "variant").rows() == [
        ("cit_rec", "full"), ("cit_rec", "without_image"), ("popularity", "full"),
    ]  # fmt: skip


def _rest(cell: Cell) -> tuple:
    return cell.protocol, cell.profile, cell.variant, cell.seed
