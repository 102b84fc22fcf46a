"""Prompts: what a language model is asked about items, sessions and labelled pairs. Text alone, so no GPU is held."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.content import ITEMS, SPLITS, content_asset, is_current
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.storage import Leaves, ParquetStorage
from weft.cells import Cell
from weft.language import assessments, enrichment, intents


@content_asset(
    "enrichment_prompts",
    "What a language model is asked about each item (LLM-EMF): from title and description, no interaction.",
    [ITEMS],
)
def enrichment_prompts(
    context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> dg.Output[Leaves]:
    """One prompt per titled item."""
    store, cell = io_manager.store, cells.of_items(context.partition_key)
    task = cells.models().enrichment
    items = store.read("interactions.items", cell.of_dataset())
    table = enrichment.prompts(items.head(task.limit or len(items)), task.prompt)
    return dg.Output({cell: table}, metadata={"items without a title": len(items) - len(table)})


@content_asset(
    "intent_prompts",
    "What a language model is asked about each session, once per view (LLM4SBR): the clicks before the target.",
    [ITEMS, SPLITS],
)
def intent_prompts(
    context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> dg.Output[Leaves]:
    """One prompt per session and view, for every session protocol of the run."""
    store, tables = io_manager.store, {}
    task = cells.models().intent
    for cell, splits in _split(store, cells.of_intents(context.partition_key)):
        items = store.read("interactions.items", cell.of_dataset())
        tables[cell] = intents.prompts(cells.rule(cell), splits, items, task.prompt, most=task.limit)
    return dg.Output(tables, metadata={"prompts": sum(map(len, tables.values()))})


@content_asset(
    "assessment_prompts",
    "What a language model is asked about sampled training pairs (SCoRe): which knowledge would decide?",
    [ITEMS, SPLITS],
)
def assessment_prompts(
    context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> dg.Output[Leaves]:
    """A sample of the training rows, for every pointwise protocol of the run."""
    store, tables = io_manager.store, {}
    task = cells.models().assessment
    for cell, splits in _split(store, cells.of_assessments(context.partition_key)):
        items = store.read("interactions.items", cell.of_dataset())
        wanted = task.limit or len(splits)
        tables[cell] = assessments.prompts(cells.rule(cell), splits, items, task.prompt, n=wanted, seed=cells.seeds[0])
    return dg.Output(tables, metadata={"prompts": sum(map(len, tables.values()))})


def _split(store: ArtifactStore, wanted: list[Cell]) -> Iterator[tuple[Cell, pl.DataFrame]]:
    """The wanted cells with their splits; a data set without sessions or labels has none of today's data."""
    for cell in wanted:
        if is_current(store, "interactions.splits", cell.of_protocol()):
            yield cell, store.read("interactions.splits", cell.of_protocol())
