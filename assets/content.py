"""What the assets of the group ``content`` share: their place, their texts, and the cells of each family.

Vectors of what items are stand in ``embeddings.py``, generated texts in ``prompts.py``, ``generations.py`` and
``readings.py``.
"""

import json
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import dagster as dg
import polars as pl

from assets.baselines import SYSTEM_TAG
from assets.partitions import DATASETS
from resources.accelerator import GPU_POOL, GPU_TAGS
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from weft.cells import Cell
from weft.language import texts

GROUP = "content"
CODE_VERSION = "1"
TAGS = {SYSTEM_TAG: GROUP}
"""``--systems content`` selects all of it."""

ITEMS = dg.AssetKey(["interactions", "items"])
IMAGES = dg.AssetKey(["interactions", "images"])
SPLITS = dg.AssetKey(["interactions", "splits"])
HOUSE_LANGUAGE = dg.AssetKey(["house", "language_model"])
HOUSE_VISION = dg.AssetKey(["house", "image_text_model"])

Family: TypeAlias = Literal["enrichment", "intent", "assessment"]
"""The three kinds of generated text: of items (LLM-EMF), of sessions (LLM4SBR), of labelled pairs (SCoRe)."""


def made(name: str) -> dg.AssetKey:
    """Key of an asset of this group."""
    return dg.AssetKey([GROUP, name])


def content_asset(
    name: str, description: str, deps: list[dg.AssetKey], *kinds: str, gpu: bool = False
) -> Callable[[Callable], dg.AssetsDefinition]:
    """``dg.asset`` with what the assets of this group have in common."""
    return dg.asset(
        key=[GROUP, name],
        group_name=GROUP,
        description=description,
        deps=deps,
        partitions_def=DATASETS,
        kinds={"parquet", *kinds},
        code_version=CODE_VERSION,
        tags=TAGS,
        pool=GPU_POOL if gpu else None,
        op_tags=GPU_TAGS if gpu else None,
    )


def cells_of(family: Family, cells: Cells, dataset: str) -> list[Cell]:
    """Where the artifacts of a family lie in this run."""
    if family == "enrichment":
        return [cells.of_items(dataset)]
    return cells.of_intents(dataset) if family == "intent" else cells.of_assessments(dataset)


def present(store: ArtifactStore, asset: str, wanted: list[Cell]) -> list[Cell]:
    """Those of the wanted cells that have been made, of the data that stand now.

    Content is filed under our item numbers. When the catalogue has changed since, a number may mean another item.
    """
    return [cell for cell in wanted if is_current(store, asset, cell)]


def is_current(store: ArtifactStore, asset: str, cell: Cell) -> bool:
    """Whether the leaf exists and was made from what stands in storage now, all the way up to the cleaned tables."""
    if not store.exists(asset, cell):
        return False
    for asked, place, digest in _inputs(store, asset, cell):
        if not store.exists(asked, place) or store.digest(asked, place) != digest:
            return False
        if asked.startswith((f"{GROUP}.", "interactions.splits")) and not is_current(store, asked, place):
            return False
    return True


def _inputs(store: ArtifactStore, asset: str, cell: Cell) -> Iterator[tuple[str, Cell, str]]:
    for read in json.loads(store.footer(asset, cell).get("inputs", "[]")):
        yield read["asset"], Cell.parse(read["cell"]), read["digest"]


def item_texts(store: ArtifactStore, cell: Cell) -> pl.DataFrame:
    """Titles, texts and, where they have been made, enriched texts of all items (``weft/language/texts.py``)."""
    items = store.read("interactions.items", cell.of_dataset())
    written = present(store, "content.item_enrichments", [cell])
    return texts.of_items(items, store.read("content.item_enrichments", cell) if written else None)
