"""Reports: what the outcome leaves in storage say about a data set.

Each is a pure function of the leaves found, never of the run that asks for it, and is computed while its own leaf is
locked: run one system, then another, then the first with a second seed, and all three stand; of two runs at once the
later one sees what the earlier one committed. Run ids and times stay in the footer, so that nothing new means an equal
content digest. The work is in ``weft/evaluation``.
"""

from collections.abc import Iterator
from functools import partial

import dagster as dg
import polars as pl

from assets.bounds import BOUNDS
from assets.fitting import is_current
from assets.partitions import DATASETS
from resources.artifacts import ArtifactStore
from resources.storage import ParquetStorage, Rebuild
from weft.cells import Cell
from weft.evaluation import leaderboard as board
from weft.evaluation import tables
from weft.evaluation.ablations import ablations_of
from weft.evaluation.costs import costs_of
from weft.evaluation.measuring import Catalogue
from weft.evaluation.tables import Outcome
from weft.models.registry import MODELS
from weft.systems.registry import OUTCOMES as MADE_UNDER
from weft.systems.registry import SYSTEMS

OUTCOMES = [
    *(dg.AssetKey(["baselines", f"{bound}_{outcome}"]) for bound in BOUNDS for outcome in MADE_UNDER.values()),
    *(dg.AssetKey([each.group, f"{each.name}_{MADE_UNDER[kind]}"]) for each in MODELS.values() for kind in each.kinds),
    *(dg.AssetKey([system.name, outcome]) for system in SYSTEMS.values() for outcome in system.outcomes.values()),
]
BASELINES = [entry.name for entry in MODELS.values() if entry.group == "baselines"]


def outcomes(store: ArtifactStore, dataset: str) -> Iterator[Outcome]:
    """The outcome leaves of a data set that were made from its present splits, one at a time, in a fixed order."""
    stale: list[str] = []
    leaves = [leaf for pattern in ("*.*rankings", "*.*scored_pairs") for leaf in store.leaves(pattern, dataset=dataset)]
    for leaf in sorted(leaves, key=lambda leaf: (leaf.asset, leaf.cell.path)):
        footer = store.footer(leaf.asset, leaf.cell)
        if is_current(store, leaf.cell, footer):
            yield Outcome(leaf.cell, footer, store.read(leaf.asset, leaf.cell))
        else:
            stale.append(f"{leaf.asset} {leaf.cell.path}")
    if stale:
        told = ", ".join(stale)
        dg.get_dagster_logger().warning("left out, because the data have changed since; fit them again: %s", told)


def measured(store: ArtifactStore, dataset: str) -> pl.DataFrame:
    """Rows of ``reports.metrics``: every figure of every outcome leaf, with its interval."""
    catalogues: dict[Cell, Catalogue | None] = {}
    parts = []
    for outcome in outcomes(store, dataset):
        cell = outcome.cell.of_protocol()
        if cell not in catalogues:
            catalogues[cell] = _catalogue(store, cell)
        parts.append(tables.metrics_of(outcome, catalogues[cell]))
    return tables.merge_metrics(parts)


def _catalogue(store: ArtifactStore, cell: Cell) -> Catalogue | None:
    if not store.exists("interactions.splits", cell):
        return None
    return Catalogue.of(store.scan("interactions.splits", cell).select("item", "split").collect())


_report = partial(dg.asset, group_name="reports", partitions_def=DATASETS, kinds={"polars", "parquet"})


@_report(key=["reports", "metrics"], deps=OUTCOMES)
def metrics(context: dg.AssetExecutionContext, io_manager: dg.ResourceParam[ParquetStorage]) -> Rebuild:
    """Every metric of every system, split, slice and cut, with a 95 % bootstrap interval over users."""
    return Rebuild(lambda: measured(io_manager.store, context.partition_key))


@_report(key=["reports", "comparisons"], deps=OUTCOMES)
def comparisons(context: dg.AssetExecutionContext, io_manager: dg.ResourceParam[ParquetStorage]) -> Rebuild:
    """Differences of all pairs of systems and variants on the same test queries, by paired bootstrap."""
    return Rebuild(lambda: tables.comparisons_of(outcomes(io_manager.store, context.partition_key)))


@_report(key=["reports", "ablations"], deps=OUTCOMES)
def ablations(context: dg.AssetExecutionContext, io_manager: dg.ResourceParam[ParquetStorage]) -> Rebuild:
    """What each variant of a system changes: full - variant, by paired bootstrap over users, pooled over seeds."""
    return Rebuild(lambda: ablations_of(outcomes(io_manager.store, context.partition_key)))


@_report(key=["reports", "cost"], deps=OUTCOMES)
def cost(context: dg.AssetExecutionContext, io_manager: dg.ResourceParam[ParquetStorage]) -> Rebuild:
    """Seconds of fitting and of scoring and parameters of every system, with and without a language model.

    The one table whose content is time, so that equal runs give another digest; nothing is made from it.
    """
    return Rebuild(lambda: costs_of(outcomes(io_manager.store, context.partition_key)))


@_report(key=["reports", "leaderboard"], deps=[metrics])
def leaderboard(context: dg.AssetExecutionContext, io_manager: dg.ResourceParam[ParquetStorage]) -> Rebuild:
    """Test figures of every system, best first, means over seeds: a function of ``reports.metrics`` as it stands."""

    def build() -> pl.DataFrame:
        table = board.leaderboard_of(io_manager.store.read("reports.metrics", Cell(context.partition_key)))
        shown = dg.MetadataValue.md(board.leaderboard_markdown(table, BASELINES))
        context.add_asset_metadata({"leaderboard": shown}, partition_key=context.partition_key)
        return table

    return Rebuild(build)
