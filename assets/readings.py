"""Readings: what is understood of the answers of a language model. A bad parse is mended here, without asking again."""

from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assets.content import ITEMS, SPLITS, content_asset, made, present
from resources import metadata
from resources.accelerator import Accelerator
from resources.cells import Cells
from resources.encoders import SentenceEncoder
from resources.storage import Leaves, ParquetStorage, Table
from weft.data import summary
from weft.language import assessments, enrichment, intents, localisation, texts
from weft.language.grounding import ground


@content_asset(
    "item_enrichments",
    "What each item is, in a language model's words (LLM-EMF eq. 1); null where the answer cannot be read.",
    [made("enrichment_generations")],
)
def item_enrichments(
    context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> dg.Output[Leaves]:
    """Reads the answers."""
    store, cell = io_manager.store, cells.of_items(context.partition_key)
    table = enrichment.parse(store.read("content.enrichment_generations", cell))
    return dg.Output({cell: table}, metadata=_status(table))


@content_asset(
    "intent_inferences",
    "The item that a language model names for each session and view (LLM4SBR eq. 1), grounded in the catalogue.",
    [made("intent_generations"), ITEMS, SPLITS],
    "huggingface",
    gpu=True,
)
def intent_inferences(
    context: dg.AssetExecutionContext,
    cells: Cells,
    accelerator: Accelerator,
    sentence_encoder: SentenceEncoder,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> dg.Output[Leaves]:
    """Reads the answers, and finds the items that they name."""
    store, profile = io_manager.store, cells.models()
    encoder = sentence_encoder.open(profile.sentence_encoder, accelerator.runtime(0))
    tables: Leaves = {}
    shares: dict[str, Any] = {}
    for cell in present(store, "content.intent_generations", cells.of_intents(context.partition_key)):
        items = store.read("interactions.items", cell.of_dataset())
        grounding = partial(ground, items=items, encode=encoder.encode)
        found = intents.parse(store.read("content.intent_generations", cell), grounding)
        tables[cell] = found
        asked = intents.shown(cells.rule(cell), store.read("interactions.splits", cell.of_protocol()))
        shares |= {f"{name} ({cell.protocol})": share for name, share in intents.summary(found, asked).items()}
    return dg.Output(tables, metadata=shares)


@content_asset(
    "localized_intents",
    "Each inference as a vector: the K nearest item names, weighted by their similarity (LLM4SBR eq. 4-5).",
    [made("intent_inferences"), ITEMS],
    "huggingface",
    gpu=True,
)
def localized_intents(
    context: dg.AssetExecutionContext,
    cells: Cells,
    accelerator: Accelerator,
    sentence_encoder: SentenceEncoder,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> dg.Output[Leaves]:
    """Embeds answers and names by the profile's localiser and weighs the nearest."""
    store, profile = io_manager.store, cells.models()
    encoder = sentence_encoder.open(profile.localiser, accelerator.runtime(0, log=context.log))
    tables: Leaves = {}
    shown: dict[str, Any] = {}
    for cell in present(store, "content.intent_inferences", cells.of_intents(context.partition_key)):
        names = texts.of_items(store.read("interactions.items", cell.of_dataset())).filter(of="title")
        vectors = encoder.encode(names["text"].to_list())
        named = names.select("item", vector=pl.Series(vectors, dtype=pl.Array(pl.Float32, encoder.width)))
        inferences = store.read("content.intent_inferences", cell)
        answered = localisation.each_once(inferences["text"], encoder.encode)
        table, empty = localisation.localise(inferences, answered, named, profile.localised)
        tables[cell] = Table(table, {"model": encoder.revision})
        shown[f"empty ({cell.protocol})"] = empty
    return dg.Output(tables, metadata=shown)


@content_asset(
    "self_assessments",
    "What a language model says it would have to know to judge a pair (SCoRe eq. 7).",
    [made("assessment_generations")],
)
def self_assessments(
    context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> dg.Output[Leaves]:
    """Reads the answers."""
    store = io_manager.store
    tables: Leaves = {}
    shown: dict[str, Any] = {}
    for cell in present(store, "content.assessment_generations", cells.of_assessments(context.partition_key)):
        tables[cell] = assessments.parse(store.read("content.assessment_generations", cell))
        shown |= _status(tables[cell])
    return dg.Output(tables, metadata=shown)


def _status(table: pl.DataFrame) -> dict[str, Any]:
    """Rows by what became of their question, and a few of the texts."""
    told = {"status": dg.MetadataValue.md(summary.markdown(table.group_by("status").len("rows").sort("status")))}
    some = table["text"].drop_nulls().head(3).str.head(200)
    return {**told, "some": dg.MetadataValue.md(metadata.markdown(["text"], [[text] for text in some]))}
