"""The assets of every registered model: its weights, its training history, its outcomes.

An outcome is rankings under a ranking protocol and scored pairs under a pointwise one; each stage leaves the cells of
the other kind alone.

A model that is added to the registry appears here by itself. The work is in ``fitting.py``. The GPU is held for the
fit alone: ranking loads the model back from its table, as anybody could.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import dagster as dg
import polars as pl

from assets import fitting, shown
from assets.fitting import Material
from assets.model_config import config_class, settings_of
from assets.partitions import DATASETS
from resources.accelerator import GPU_POOL, GPU_TAGS, Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.storage import Leaves, ParquetStorage, Table
from weft.cells import Cell
from weft.models.registry import MODELS, Entry
from weft.models.settings import FitSettings
from weft.progress import LogProgress

Log: TypeAlias = dg.DagsterLogManager

CODE_VERSION = "1"
"""Raise it when a change in code changes what is fitted: unfinished fits of the old version start over."""

SYSTEM_TAG = "weft/system"
"""Every asset that exists for one system only carries it; jobs and the command line select by it."""

SPLITS = dg.AssetKey(["interactions", "splits"])
NEGATIVES = dg.AssetKey(["interactions", "negatives"])
SIZES = [dg.AssetKey(["interactions", "users"]), dg.AssetKey(["interactions", "items"])]


def material(store: ArtifactStore, cells: Cells, cell: Cell, *, drawn: bool = False) -> Material:
    """What a cell is made from; for ranking (``drawn``) with the protocol's drawn negatives, where it has any."""
    data = cell.of_dataset()
    leaf, splits = store.load("interactions.splits", cell.of_protocol())
    rule = cells.rule(cell)
    return Material(
        protocol=rule,
        splits=splits.collect(),
        splits_digest=leaf.digest,
        n_users=_rows(store, "interactions.users", data),
        n_items=_rows(store, "interactions.items", data),
        negatives=store.read("interactions.negatives", cell.of_protocol()) if drawn and rule.samples else None,
    )


def _rows(store: ArtifactStore, asset: str, cell: Cell) -> int:
    return store.scan(asset, cell).select(pl.len()).collect().item()


def _out(entry: Entry, name: str, description: str, *kinds: str) -> dg.AssetOut:
    return dg.AssetOut(
        key=[entry.group, name],
        group_name=entry.group,
        description=description,
        kinds={"parquet", *kinds},
        code_version=CODE_VERSION,
        tags={SYSTEM_TAG: entry.name},
    )


def _fit(entry: Entry) -> dg.AssetsDefinition:
    """The stage that fits one model on every wanted cell."""
    iterated = issubclass(entry.settings, FitSettings)
    asset = f"{entry.group}.{entry.name}"
    outs = {entry.name: _out(entry, entry.name, f"{entry.title}: the fitted model as a table of arrays.", "torch")}
    if iterated:
        outs[f"{entry.name}_history"] = _out(entry, f"{entry.name}_history", f"Loss and validation of {entry.name}.")

    @dg.multi_asset(
        name=f"{entry.group}__{entry.name}",
        outs=outs,
        deps=[SPLITS, *SIZES],
        partitions_def=DATASETS,
        pool=GPU_POOL,
        op_tags=GPU_TAGS,
    )
    def fit(
        context: dg.AssetExecutionContext,
        config: config_class(entry),  # type: ignore[valid-type]
        cells: Cells,
        accelerator: Accelerator,
        io_manager: dg.ResourceParam[ParquetStorage],
    ) -> Iterator[dg.Output[Any]]:
        store, dataset = io_manager.store, context.partition_key
        wanted, fitted, works = cells.of(dataset), {}, []
        with fitting.alone(store, asset, wanted, context.run_id):
            for cell in wanted:
                given = material(store, cells, cell)
                if missing := fitting.lacks(entry, given):
                    context.log.warning("%s needs %s: nothing is fitted for %s", entry.name, missing, cell.path)
                    continue
                settings = settings_of(entry, dataset, config, cell.protocol, store.base)
                device = accelerator.name() if iterated else "cpu"
                computes = device, accelerator.precision
                work = fitting.work_folder(
                    store, asset, cell, settings, given, computes, CODE_VERSION, context.log.warning
                )
                runtime = accelerator.runtime(int(cell.seed or 0), work, context.log)
                fitted[cell] = fitting.fit(entry, settings, given, runtime, device)
                works.append(work)
            weights = {cell: Table(each.weights, each.attributes) for cell, each in fitted.items()}
            yield dg.Output(weights, entry.name, metadata=shown.of_fit(fitted))
            if iterated:
                histories = {cell: Table(each.history, each.attributes) for cell, each in fitted.items()}
                yield dg.Output(histories, f"{entry.name}_history")
            for work in works:  # Dagster comes back here when the outputs are committed
                fitting.forget(work)

    return fit


@dataclass(frozen=True)
class Outcome:
    """What a system makes under one kind of protocol, and how; ``OUTCOMES`` lists them."""

    name: str
    kind: Literal["ranking", "pointwise"]
    description: str
    reads: tuple[dg.AssetKey, ...]
    make: Callable[[Any, str, Material, Log], pl.DataFrame]
    show: Callable[[Mapping[Cell, pl.DataFrame]], dict]


def _outcome(entry: Entry, what: Outcome) -> dg.AssetsDefinition:
    """The stage that makes one kind of outcome with one fitted model on every wanted cell of that kind."""

    @dg.asset(
        key=[entry.group, f"{entry.name}_{what.name}"],
        group_name=entry.group,
        description=f"{what.description}, by {entry.name}.",
        deps=[dg.AssetKey([entry.group, entry.name]), *what.reads],
        partitions_def=DATASETS,
        kinds={"parquet", "torch"},
        code_version=CODE_VERSION,
        tags={SYSTEM_TAG: entry.name},
    )
    def outcome(
        context: dg.AssetExecutionContext,
        cells: Cells,
        accelerator: Accelerator,
        io_manager: dg.ResourceParam[ParquetStorage],
    ) -> dg.Output[Leaves]:
        store = io_manager.store
        made: Leaves = {}
        frames = {}
        for cell in of_kind(what.kind, cells, context.partition_key):
            given = material(store, cells, cell, drawn=NEGATIVES in what.reads)
            if missing := fitting.lacks(entry, given):
                context.log.warning("%s needs %s: nothing is made for %s", entry.name, missing, cell.path)
                continue
            model, attributes = fitting.load(entry, store, cell, accelerator)
            frames[cell], seconds = timed(what.make, model, entry.name, given, context.log)
            made[cell] = Table(frames[cell], {**attributes, **given.attributes, "seconds_score": seconds})
        return dg.Output(made, metadata=what.show(frames))

    return outcome


def _rank(model: Any, system: str, given: Material, log: Log) -> pl.DataFrame:
    return fitting.rank(model.score, system, given, LogProgress(log.info, interval=5.0))


def _score_pairs(model: Any, system: str, given: Material, log: Log) -> pl.DataFrame:
    del log
    return fitting.score_pairs(model.score_pairs, system, given)


def timed(make: Callable[..., pl.DataFrame], *given: Any) -> tuple[pl.DataFrame, str]:
    """The table that ``make`` makes of ``given``, and the seconds that it took."""
    started = time.monotonic()
    table = make(*given)
    return table, f"{time.monotonic() - started:.4f}"


OUTCOMES = (
    Outcome(
        "rankings",
        "ranking",
        "Full rankings of validation and test: exact rank of the target, top 100 items",
        (SPLITS, NEGATIVES, *SIZES),
        _rank,
        shown.of_rankings,
    ),
    Outcome(
        "scored_pairs",
        "pointwise",
        "Scores of the labelled pairs of validation and test, under pointwise protocols",
        (SPLITS, *SIZES),
        _score_pairs,
        shown.of_scored_pairs,
    ),
)


def of_kind(kind: str, cells: Cells, dataset: str) -> list[Cell]:
    """The wanted cells under ranking or under pointwise protocols."""
    return [cell for cell in cells.of(dataset) if cells.rule(cell).kind == kind]


@dg.multi_asset(
    name="behaviour__embeddings",
    outs={
        "item_embeddings": _out(MODELS["sasrec"], "item_embeddings", "SASRec's vector of every item.", "torch"),
        "user_embeddings": _out(
            MODELS["sasrec"], "user_embeddings", "SASRec's state after each user's training history.", "torch"
        ),
    },
    deps=[dg.AssetKey(["behaviour", "sasrec"]), SPLITS, *SIZES],
    partitions_def=DATASETS,
    pool=GPU_POOL,
    op_tags=GPU_TAGS,
)
def embeddings(
    context: dg.AssetExecutionContext,
    cells: Cells,
    accelerator: Accelerator,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> Iterator[dg.Output[Leaves]]:
    """Vectors that later stages read; of the training split alone, so that nothing of the future is in them."""
    store = io_manager.store
    items, users = {}, {}
    for cell in cells.of(context.partition_key):
        model, attributes = fitting.load(MODELS["sasrec"], store, cell, accelerator)
        items[cell] = Table(fitting.item_embeddings(model), attributes)
        users[cell] = Table(fitting.user_embeddings(model, material(store, cells, cell)), attributes)
    yield dg.Output(items, "item_embeddings")
    yield dg.Output(users, "user_embeddings")


FITS = [_fit(entry) for entry in MODELS.values()]
MADE = [_outcome(entry, what) for entry in MODELS.values() for what in OUTCOMES if what.kind in entry.kinds]
