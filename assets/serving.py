"""What is served: top items per user with their evidence, from the model that did best on validation, or a chosen one.

Not here: how items are chosen (``weft/recommend.py``).
"""

import dagster as dg
import polars as pl
from pydantic import Field

from assets import fitting
from assets.partitions import DATASETS
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.storage import ParquetStorage, Table
from weft.cells import Cell
from weft.errors import MissingArtifactError
from weft.evaluation.protocols import PROTOCOLS
from weft.models.registry import MODELS, entry
from weft.progress import LogProgress

BEST = "best"


class ServingConfig(dg.Config):
    """What to serve."""

    system: str = Field(
        BEST, description="A model's name, or best: the highest NDCG@10 on validation, UAUC under pointwise protocols."
    )
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
    accelerator: Accelerator,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> Table:
    """Loads the chosen model and scores every user's whole history."""
    from weft.recommend import recommend  # noqa: PLC0415 - imports torch

    store, data = io_manager.store, Cell(context.partition_key)
    system, cell = chosen(store, cells, data.dataset, config.system)
    model, attributes = fitting.load(entry(system), store, cell, accelerator)
    context.log.info("serving %s from %s", system, cell.path)
    frame = recommend(
        model.score,
        system,
        store.read("interactions.interactions", data),
        store.read("interactions.users", data),
        store.read("interactions.items", data),
        config.n,
        liked=cells.rule(cell).liked,
        progress=LogProgress(context.log.info, interval=5.0),
    )
    return Table(frame, attributes)


def chosen(store: ArtifactStore, cells: Cells, dataset: str, system: str) -> tuple[str, Cell]:
    """The fit to serve: of the wanted systems, the best on validation under the headline, by NDCG@10 or UAUC.

    A model that is made for labelled pairs alone is served only where there is no other.
    Data without a validation part are served by the system that stands last in the registry, never by a figure of the
    test. A fit whose splits have changed since counts no longer: its figures are about yesterday's data.

    Raises:
        RequestError: If there is no such system.
        MissingArtifactError: If nothing fits.
    """
    wanted = list(MODELS) if system == BEST else [entry(system).name]
    wished = dict.fromkeys([cells.headline(dataset), *(str(cell.protocol) for cell in cells.of(dataset))])
    protocols = [name for name in wished if PROTOCOLS[name].chooses]
    figures = (
        store.read("reports.metrics", Cell(dataset))
        .filter(pl.col("system").is_in(wanted), pl.col("protocol").is_in(protocols))
        .filter(((pl.col("metric") == "ndcg") & (pl.col("k") == 10)) | (pl.col("metric") == "uauc"), slice="all")
        .with_columns(
            preference=pl.col("protocol").replace_strict(dict(zip(protocols, range(len(protocols)), strict=True))),
            value=pl.when(pl.col("split") == "validation").then("value"),
            place=pl.col("system").replace_strict({name: -place for place, name in enumerate(MODELS)}),
            # It would judge every pair of user and item by itself: minutes on the 6,040 users of MovieLens-1M.
            for_pairs=pl.col("system").is_in([each.name for each in MODELS.values() if "ranking" not in each.kinds]),
        )
        .sort(
            "preference",
            "for_pairs",
            "value",
            "place",
            "seed",
            descending=[False, False, True, False, False],
            nulls_last=True,
        )
    )
    stale: list[str] = []
    for row in figures.iter_rows(named=True):
        cell = Cell(dataset, row["protocol"], row["profile"], row["variant"], row["seed"])
        asset = f"{MODELS[row['system']].group}.{row['system']}"
        if store.exists(asset, cell) and fitting.is_current(store, cell, store.footer(asset, cell)):
            if stale:
                told = ", ".join(dict.fromkeys(stale))
                dg.get_dagster_logger().warning("not served, because the data have changed since: %s", told)
            return row["system"], cell
        stale.append(f"{asset} {cell.path}")
    raise MissingArtifactError(f"{system}: no model fits the present splits of {dataset}", "fit one first")
