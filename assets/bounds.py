"""Bounds of a simulated data set: the oracle knows the planted truth, the ceiling what can be learnt of it.

The oracle ranks by the very affinities that choices were drawn from. The ceiling is a plain model that is given the
true attributes of the items and learns the rest from the training split: what is attainable, which is far less.
"""

from collections.abc import Callable
from typing import Any, Literal

import dagster as dg

from assets import fitting
from assets.baselines import NEGATIVES, SIZES, SPLITS, SYSTEM_TAG, material, of_kind, timed
from assets.fitting import Material
from assets.partitions import DATASETS
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.storage import Leaves, ParquetStorage, Table
from weft.cells import Cell
from weft.data.storefront_ceiling import Ceiling
from weft.data.storefront_truth import Oracle
from weft.progress import LogProgress

GROUP = "baselines"
CODE_VERSION = "2"
TRUTH = dg.AssetKey(["interactions", "truth"])

Bound = Literal["oracle", "ceiling"]
_ABOUT = {
    "oracle": "by the planted truth of a simulated data set: what nobody can beat",
    "ceiling": "by a plain model on the true attributes of a simulated data set: what can be learnt",
}


def _asset(bound: Bound, name: str, about: str, deps: list[dg.AssetKey]) -> Callable[[Callable], dg.AssetsDefinition]:
    return dg.asset(
        key=[GROUP, f"{bound}_{name}"],
        group_name=GROUP,
        description=f"{about} {_ABOUT[bound]}.",
        deps=[TRUTH, SPLITS, *deps, *SIZES],
        partitions_def=DATASETS,
        kinds={"parquet"},
        code_version=CODE_VERSION,
        tags={SYSTEM_TAG: bound},
    )


def _rankings(bound: Bound) -> dg.AssetsDefinition:
    @_asset(bound, "rankings", "Rankings", [NEGATIVES])
    def rankings(
        context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
    ) -> Leaves:
        """Makes nothing where there is no truth, or where a protocol asks for nobody."""
        store, dataset = io_manager.store, context.partition_key
        made: Leaves = {}
        for cell in of_kind("ranking", cells, dataset) if _planted(store, dataset, bound, context) else ():
            given = material(store, cells, cell, drawn=True)
            if given.protocol.grouped_by == "session":
                context.log.warning("the %s knows users and %s asks for nobody: it ranks nothing", bound, cell.protocol)
                continue
            progress = LogProgress(context.log.info, interval=5.0)
            scorer = _scorer(bound, store, dataset, given)
            table, seconds = timed(fitting.rank, scorer.score, bound, given, progress)
            made[cell] = Table(table, _attributes(bound, given, seconds))
        return made

    return rankings


def _scored_pairs(bound: Bound) -> dg.AssetsDefinition:
    @_asset(bound, "scored_pairs", "Labelled pairs scored", [])
    def scored_pairs(
        context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
    ) -> Leaves:
        """Scores with the lasting taste that ratings are drawn from; makes nothing where there is no truth."""
        store, dataset = io_manager.store, context.partition_key
        made: Leaves = {}
        for cell in of_kind("pointwise", cells, dataset) if _planted(store, dataset, bound, context) else ():
            given = material(store, cells, cell)
            scorer = _scorer(bound, store, dataset, given)
            table, seconds = timed(fitting.score_pairs, scorer.liking, bound, given)
            made[cell] = Table(table, _attributes(bound, given, seconds))
        return made

    return scored_pairs


def _scorer(bound: Bound, store: ArtifactStore, dataset: str, given: Material) -> Oracle | Ceiling:
    data = Cell(dataset)
    truth, items = store.read("interactions.truth", data), store.read("interactions.items", data)
    if bound == "oracle":
        return Oracle(truth, store.read("interactions.users", data), items)
    return Ceiling(truth, items, given.events)


def _planted(store: ArtifactStore, dataset: str, bound: Bound, context: dg.AssetExecutionContext) -> bool:
    """Whether truth is planted; a warning where it is not."""
    planted = not store.read("interactions.truth", Cell(dataset)).is_empty()
    if not planted:
        context.log.warning("%s has no planted truth: the %s scores nothing", dataset, bound)
    return planted


def _attributes(bound: Bound, given: Material, seconds: str) -> dict[str, Any]:
    """What the footer of an outcome of a bound says."""
    return {
        "system": bound,
        **given.attributes,
        "config_digest": fitting.digest({}),
        "device": "cpu",
        "seconds_fit": "0",
        "seconds_score": seconds,
        "parameters": "0",
    }


BOUNDS: tuple[Bound, ...] = ("oracle", "ceiling")
MADE = [make(bound) for bound in BOUNDS for make in (_rankings, _scored_pairs)]
