"""What is served: top items per user with their evidence, from the model that did best on validation, or a chosen one.

Not here: how items are chosen (``weft/recommend.py``).
"""

import dagster as dg
import polars as pl
from pydantic import Field

from assets import fitting
from assets.partitions import DATASETS
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.storage import ParquetStorage, Table
from weft.cells import Cell
from weft.errors import MissingArtifactError
from weft.models.registry import MODELS, entry
from weft.progress import LogProgress

BEST = "best"


class ServingConfig(dg.Config):
    """What to serve."""

    system: str = Field(BEST, description="A model's name, or best: highest NDCG@10 on validation among those fitted.")
    n: int = Field(20, ge=1, le=1000, description="Items per user.")


@dg.asset(
    key=["serving", "recommendations"],
    group_name="serving",
    partitions_def=DATASETS,
    deps=[["reports", "metrics"], *([each.group, each.name] for each in MODELS.values())],
    kinds={"parquet", "torch"},
    code_version="1",
    description="Top items per user with titles, scores, and the history item that speaks most for each. User 0 "
    "stands for everybody unknown; users without a history get what was popular lately.",
)
def recommendations(
    context: dg.AssetExecutionContext,
    config: ServingConfig,
    cells: Cells,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> Table:
    """Loads the chosen model of the headline cell and scores every user's whole history."""
    from weft.recommend import recommend  # noqa: PLC0415 - imports torch

    store, data = io_manager.store, Cell(context.partition_key)
    system, cell = chosen(store, cells, data.dataset, config.system)
    model, attributes = fitting.load(entry(system), store, cell)
    context.log.info("serving %s from %s", system, cell.path)
    frame = recommend(
        model.score,
        system,
        store.read("interactions.interactions", data),
        store.read("interactions.users", data),
        store.read("interactions.items", data),
        config.n,
        LogProgress(context.log.info, interval=5.0),
    )
    return Table(frame, attributes)


def chosen(store: ArtifactStore, cells: Cells, dataset: str, system: str) -> tuple[str, Cell]:
    """The model to serve and the cell of its fit: the run's first cell in which it was fitted.

    Raises:
        RequestError: If there is no such system.
        MissingArtifactError: If nothing fits.
    """
    wanted = cells.of(dataset)
    if system != BEST:
        cell = next((c for c in wanted if store.exists(f"{entry(system).group}.{system}", c)), None)
        if cell is None:
            raise MissingArtifactError(
                f"{system} has not been fitted for {wanted[0].path}", f"weft run --systems {system}"
            )
        return system, cell
    first = wanted[0]
    figures = (
        store.read("reports.metrics", Cell(dataset))
        .filter(split="validation", metric="ndcg", k=10, slice="all")
        .filter(protocol=first.protocol, variant=first.variant, profile=first.profile, seed=first.seed)
        .filter(pl.col("system").is_in(list(MODELS)))
        .sort("value", "system", descending=[True, False], nulls_last=True)
    )
    for name in figures["system"]:
        if store.exists(f"{MODELS[name].group}.{name}", first):
            return name, first
    raise MissingArtifactError(f"no model has been fitted for {first.path}", f"weft run --dataset {dataset}")
