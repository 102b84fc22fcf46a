"""Generations: the answers of a language model as they came. What it answered before is taken from the cache."""

from typing import Any

import dagster as dg
import polars as pl

from assets.content import HOUSE_LANGUAGE, Family, cells_of, content_asset, made, present
from resources.accelerator import Accelerator
from resources.caches import generations
from resources.cells import Cells
from resources.language_model import LanguageModel
from resources.profiles import TextTask
from resources.storage import Leaves, ParquetStorage
from weft.cells import Cell
from weft.data import summary
from weft.language import answers
from weft.language.generation import Tally, generate
from weft.progress import LogProgress


def _generations(family: Family, description: str, parse: answers.Parse) -> dg.AssetsDefinition:
    """The stage that asks a language model; what it answered before is taken from the cache."""

    @content_asset(
        f"{family}_generations",
        description,
        [made(f"{family}_prompts"), HOUSE_LANGUAGE],
        "huggingface",
        gpu=True,
    )
    def asked(
        context: dg.AssetExecutionContext,
        cells: Cells,
        accelerator: Accelerator,
        language_model: LanguageModel,
        io_manager: dg.ResourceParam[ParquetStorage],
    ) -> dg.Output[Leaves]:
        store, profile = io_manager.store, cells.models()
        task: TextTask = getattr(profile, family)
        asset = f"content.{family}_prompts"
        wanted = {
            cell: store.read(asset, cell)
            for cell in present(store, asset, cells_of(family, cells, context.partition_key))
        }
        tables: Leaves = {}
        tallies = {}
        if not wanted:
            return dg.Output(tables)
        writer = language_model.writer(store, profile, task, accelerator.device)
        for cell, prompts in wanted.items():
            tables[cell], tallies[cell] = generate(
                prompts,
                writer,
                task.sampling,
                generations(store),
                parse=parse,
                attempts=task.attempts,
                progress=LogProgress(context.log.info, interval=5.0),
            )
            _warn(tallies[cell], context.log)
        return dg.Output(tables, metadata=_shown(tallies))

    return asked


GENERATIONS = [
    _generations("enrichment", "What a language model answered about each item, as it came.", answers.prose),
    _generations("intent", "What it answered about each session and view, as it came.", answers.name),
    _generations("assessment", "What it answered about each sampled pair, as it came.", answers.prose),
]


def _shown(tallies: dict[Cell, Tally]) -> dict[str, Any]:
    """What the answers cost, for the UI."""
    if not tallies:
        return {}
    rows = pl.DataFrame([{"protocol": cell.protocol or "", **vars(tally)} for cell, tally in tallies.items()])
    return {"answers": dg.MetadataValue.md(summary.markdown(rows))}


def _warn(tally: Tally, log: dg.DagsterLogManager) -> None:
    if tally.failed or tally.malformed:
        log.warning(
            "%d of %d questions were not answered (the next run asks again), %d answers could not be read",
            tally.failed, tally.questions, tally.malformed,
        )  # fmt: skip
