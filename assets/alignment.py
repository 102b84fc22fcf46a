"""The assets of the group ``alignment``: one space for pictures and texts, and how well they meet in it (CIT-Rec)."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets import fitting, shown
from assets.content import is_current, made
from assets.model_config import config_of
from assets.partitions import DATASETS
from resources import weights
from resources.accelerator import GPU_POOL, GPU_TAGS, Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.storage import ParquetStorage, Table
from weft.alignment.settings import AlignmentSettings
from weft.cells import Cell
from weft.errors import WeftError
from weft.models.settings import resolve

if TYPE_CHECKING:
    from weft.alignment.align import Aligned

GROUP = "alignment"
ASSET = f"{GROUP}.aligned_items"
CODE_VERSION = "1"

OUTS = {
    "aligned_items_history": "Loss of the alignment, and what held-out pictures and texts tell of each other.",
    "heads": "The two heads as a table of arrays.",
    "quality": "Retrieval beside chance, alignment and uniformity, on items trained on and held out.",
    "aligned_items": "Each item's picture and text in one space, and its vector of both (CIT-Rec eq. 3 to 5).",
}
"""The vectors last: where they stand, all stands."""


def _out(name: str, description: str) -> dg.AssetOut:
    return dg.AssetOut(
        key=[GROUP, name],
        group_name=GROUP,
        description=description,
        kinds={"parquet", "torch"},
        code_version=CODE_VERSION,
    )


@dg.multi_asset(
    name="alignment__aligned_items",
    outs={name: _out(name, description) for name, description in OUTS.items()},
    deps=[dg.AssetKey(["interactions", "items"]), made("image_embeddings"), made("llm_embeddings")],
    partitions_def=DATASETS,
    pool=GPU_POOL,
    op_tags=GPU_TAGS,
)
def aligned_items(
    context: dg.AssetExecutionContext,
    config: config_of("aligned_items", AlignmentSettings),  # type: ignore[valid-type]
    cells: Cells,
    accelerator: Accelerator,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> Iterator[dg.Output[Any]]:
    """Heads are trained on the items that have picture and text; then every item is mapped."""
    from weft.alignment.align import align  # noqa: PLC0415 - imports torch

    store, dataset = io_manager.store, context.partition_key
    settings = resolve(AlignmentSettings, "aligned_items", dataset, config.overrides())
    given = _given(store, cells.of_items(dataset))
    if not given.has_image.any():
        context.log.warning("%s has no picture: every item's vector is made of its text alone", dataset)
    wanted, works = cells.of_aligned(dataset), []
    told: dict[str, Any] = {}
    leaves: dict[str, dict[Cell, Table]] = {name: {} for name in OUTS}
    with fitting.alone(store, ASSET, wanted, context.run_id):
        for cell in wanted:
            device = accelerator.name()
            made_from = [settings.model_dump(mode="json"), given.digests, device, accelerator.precision, CODE_VERSION]
            works.append(fitting.work_of(store, ASSET, cell, made_from, context.log.warning))
            runtime = accelerator.runtime(int(cell.seed or 0), works[-1], context.log)
            started = fitting.begun(runtime)
            aligned = align(given.image, given.text, given.has_image, given.has_text, settings, runtime)
            attributes = {
                "system": "aligned_items",
                "n_items": str(len(given.items)),
                "settings": settings.model_dump_json(),
                "config_digest": fitting.digest(settings.model_dump(mode="json")),
                "device": device,
                "seconds_fit": f"{time.monotonic() - started:.2f}",
                "parameters": str(sum(array.size for array in aligned.heads.values())),
            }
            told |= _shown(cell, aligned.history, aligned.quality)
            for name, table in {
                "aligned_items_history": aligned.history,
                "heads": weights.to_table(aligned.heads),
                "quality": aligned.quality,
                "aligned_items": _table(given, aligned),
            }.items():
                leaves[name][cell] = Table(table, attributes)
        for name in OUTS:
            yield dg.Output(leaves[name], name, metadata=told if name == "aligned_items" else None)
        for work in works:  # Dagster comes back here when the outputs are committed
            fitting.forget(work)


@dataclass(frozen=True)
class _Given:
    """All items of a data set in the order of their numbers, with what the encoders made of them."""

    items: pl.Series
    image: NDArray[np.float32]
    text: NDArray[np.float32]
    has_image: NDArray[np.bool_]
    has_text: NDArray[np.bool_]
    digests: list[str]


def _given(store: ArtifactStore, place: Cell) -> _Given:
    """The vectors of all items.

    Raises:
        WeftError: If they are of other items than stand in storage now.
    """
    items = store.read("interactions.items", place.of_dataset()).sort("item").select("item")
    found, digests = [], []
    for asset, of in (("content.image_embeddings", None), ("content.llm_embeddings", "text")):
        leaf, table = store.load(asset, place)
        if not is_current(store, asset, place):
            raise WeftError(
                f"{asset} of {place.path} was made of other data than stand in storage now",
                f"make it again: weft run --dataset {place.dataset} --systems content",
            )
        vectors = table.filter(of=of).collect() if of else table.collect()
        joined = items.join(vectors, on="item", how="left", maintain_order="left")["vector"]
        width = vectors.schema["vector"].size  # type: ignore[attr-defined]
        there = joined.is_not_null().to_numpy()
        filled = np.zeros((len(items), width), np.float32)
        filled[there] = joined.drop_nulls().to_numpy()
        found.append((filled, there))
        digests.append(leaf.digest)
    (image, has_image), (text, has_text) = found
    return _Given(items["item"], image, text, has_image, has_text, digests)


def _table(given: _Given, aligned: "Aligned") -> pl.DataFrame:
    """Schema ``aligned_items``; null where an item has no picture or no text."""
    columns = {"item": given.items}
    for name, vectors in (("image", aligned.image), ("text", aligned.text), ("vector", aligned.vector)):
        columns[name] = pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))
    image, text = pl.Series(given.has_image), pl.Series(given.has_text)
    return pl.DataFrame(columns).with_columns(pl.when(image).then("image"), pl.when(text).then("text"))


def _shown(cell: Cell, history: pl.DataFrame, quality: pl.DataFrame) -> dict[str, Any]:
    """The curve of the fit, and retrieval among held-out items beside chance."""
    if history.is_empty():
        return {}
    held_out = quality.filter(split="held_out").select("metric", "value").iter_rows()
    told = {**shown.of_history(history), **{f"held-out {metric}": value for metric, value in held_out}}
    return {f"{name} (seed {cell.seed})": value for name, value in told.items()}
