"""Interactions: from raw files to cleaned, numbered and split tables.

Not here: what a format looks like (``weft/data/formats``), rules (``weft/data/rules.py``) and protocols
(``weft/evaluation/protocols``).
"""

from collections.abc import Callable, Iterator
from functools import partial

import dagster as dg
import polars as pl

from assets.partitions import DATASETS
from resources.cells import Cells
from resources.data_source import DataSource
from resources.storage import Leaves, ParquetStorage
from weft.cells import Cell
from weft.data import images as pictures
from weft.data import summary
from weft.data.cleaning import clean
from weft.errors import RequestError
from weft.evaluation.protocols import BySession, Sampled
from weft.progress import LogProgress
from weft.schemas import Truth
from weft.systems.registry import SYSTEMS

GROUP = "interactions"
CODE_VERSION = "2"


def _out(description: str, *kinds: str) -> dg.AssetOut:
    return dg.AssetOut(
        key_prefix=GROUP,
        group_name=GROUP,
        description=description,
        kinds={"polars", "parquet", *kinds},
        code_version=CODE_VERSION,
    )


def _in(name: str) -> dg.AssetIn:
    return dg.AssetIn(key=[GROUP, name])


@dg.multi_asset(
    name="raw",
    partitions_def=DATASETS,
    outs={
        "raw_interactions": _out("Interactions as the source states them; nothing is refused yet."),
        "raw_items": _out("Items as the source describes them: titles, years, genres, texts, picture names."),
        "raw_images": _out("Pictures: decoded once, shrunk, RGB JPEG; or what was wrong with them.", "image"),
        "truth": _out("Planted truth of a simulated data set; empty for real ones."),
    },
)
def raw(context: dg.AssetExecutionContext, data_source: DataSource) -> Iterator[dg.Output]:
    """Reads the source once, after a look at all of its files."""
    source = data_source.open(context.partition_key)
    for note in source.check():
        context.log.warning(note)
    yield dg.Output(source.interactions(), "raw_interactions")
    items = source.items()
    yield dg.Output(items, "raw_items", metadata={"pictures named": items["image"].drop_nulls().n_unique()})
    images = source.images(LogProgress(context.log.info))
    problems = images["problem"].drop_nulls()
    told = {f"problem: {problem}": count for problem, count in problems.value_counts().iter_rows()}
    yield dg.Output(images, "raw_images", metadata={"pictures": len(images) - len(problems), **told})
    truth = source.truth()
    yield dg.Output(Truth.create_empty() if truth is None else truth, "truth")


@dg.multi_asset(
    name="cleaning",
    partitions_def=DATASETS,
    ins={name: _in(name) for name in ("raw_interactions", "raw_items", "raw_images")},
    outs={
        "interactions": _out("Accepted interactions with our numbers, sorted by (user, timestamp, row)."),
        "users": _out("Our number of each user, by first appearance."),
        "items": _out("The catalogue in the order of the source; items that nobody touched are in it."),
        "rejected": _out("Rows that broke a rule, with the rule's name, the reason and the row as text."),
    },
)
def cleaning(
    context: dg.AssetExecutionContext,
    data_source: DataSource,
    raw_interactions: pl.LazyFrame,
    raw_items: pl.LazyFrame,
    raw_images: pl.LazyFrame,
) -> Iterator[dg.Output]:
    """Sorts broken rows out, gives users and items their numbers, and puts everything in order."""
    rules = data_source.spec(context.partition_key).rules
    progress = LogProgress(context.log.info, interval=5.0)
    cleaned = clean(raw_interactions, raw_items, rules, raw_images, progress)
    histogram = summary.markdown(summary.events_per_user(cleaned.interactions))
    yield dg.Output(cleaned.interactions, "interactions", metadata={"events per user": dg.MetadataValue.md(histogram)})
    yield dg.Output(cleaned.users, "users")
    titles = len(cleaned.items) - cleaned.items["title"].null_count()
    pictured = int(cleaned.items["has_image"].sum())
    yield dg.Output(cleaned.items, "items", metadata={"with a title": titles, "with a picture": pictured})
    broken = cleaned.rejected.group_by("source", "rule").len("rows").sort("source", "rule")
    yield dg.Output(cleaned.rejected, "rejected", metadata={"by rule": dg.MetadataValue.md(summary.markdown(broken))})


@dg.asset(
    key_prefix=GROUP,
    group_name=GROUP,
    partitions_def=DATASETS,
    ins={name: _in(name) for name in ("items", "raw_items", "raw_images")},
    kinds={"polars", "parquet", "image"},
    code_version=CODE_VERSION,
    description="One picture per item that has one.",
)
def images(items: pl.LazyFrame, raw_items: pl.LazyFrame, raw_images: pl.LazyFrame) -> pl.LazyFrame:
    """Pictures under our item numbers."""
    return pictures.of_items(items, raw_items, raw_images)


@dg.asset(
    key_prefix=GROUP,
    group_name=GROUP,
    partitions_def=DATASETS,
    ins={"interactions": _in("interactions")},
    kinds={"polars", "parquet"},
    code_version=CODE_VERSION,
    description="The part that each interaction plays, one leaf per protocol of the run.",
)
def splits(context: dg.AssetExecutionContext, cells: Cells, interactions: pl.LazyFrame) -> dg.Output[Leaves]:
    """Splits under every protocol that the run asks for, and under those whose rows a language model is to read."""
    tables: Leaves = {}
    notes: dict[str, str | int] = {}
    wanted = {cell.of_protocol() for cell in cells.of(context.partition_key)}
    for cell in sorted(wanted | _read_by_language_models(context, cells)):
        rule = cells.rule(cell)
        if rule.control:
            context.log.warning("%s is a negative control, no fair figure: %s", rule.name, rule.control)
            notes[f"{rule.name}: negative control"] = rule.control
        try:
            tables[cell] = rule.split(interactions).collect()
        except RequestError as error:
            if cell in wanted:
                raise
            context.log.warning("a language model has nothing to read under %s: %s", rule.name, error.culprit)
            continue
        if isinstance(rule, BySession):
            notes[f"{rule.name}: not asked, item unseen in training"] = rule.dropped(tables[cell])
    return dg.Output(tables, metadata={"parts": dg.MetadataValue.md(_parts(tables)), **notes})


@dg.asset(
    key_prefix=GROUP,
    group_name=GROUP,
    partitions_def=DATASETS,
    deps=[[GROUP, "splits"], [GROUP, "items"]],
    kinds={"polars", "parquet"},
    code_version=CODE_VERSION,
    description="Items drawn once for each target, one leaf per protocol of the run that ranks among a few.",
)
def negatives(
    context: dg.AssetExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> dg.Output[Leaves]:
    """Draws for the protocols that sample; makes nothing for the others."""
    store, dataset = io_manager.store, context.partition_key
    tables: Leaves = {}
    for cell in sorted({cell.of_protocol() for cell in cells.of(dataset)}):
        rule = cells.rule(cell)
        if isinstance(rule, Sampled):
            items = store.read("interactions.items", cell.of_dataset())
            tables[cell] = rule.negatives(store.read("interactions.splits", cell), items)
    return dg.Output(tables, metadata={"queries": sum(map(len, tables.values()))})


def _read_by_language_models(context: dg.AssetExecutionContext, cells: Cells) -> set[Cell]:
    """The splits whose rows this run makes prompts of, beside those that it fits plain models on."""
    chosen = context.run.asset_selection
    keys = context.job_def.asset_layer.executable_asset_keys if chosen is None else chosen
    dataset = context.partition_key
    read: dict[dg.AssetKey, Callable[[str], list[Cell]]] = {
        dg.AssetKey(["content", "intent_prompts"]): cells.of_intents,
        dg.AssetKey(["content", "assessment_prompts"]): cells.of_assessments,
        **{dg.AssetKey([name, "prompts"]): partial(cells.of_system, name) for name in SYSTEMS},
    }
    return {cell.of_protocol() for key, of in read.items() if key in keys for cell in of(dataset)}


def _parts(tables: Leaves) -> str:
    """Rows and targets of every part, as a small table."""
    counted = [
        table.group_by("split")
        .agg(pl.len().alias("rows"), pl.col("target").sum().alias("targets"))
        .sort("split")
        .select(pl.lit(cell.protocol).alias("protocol"), pl.all())
        for cell, table in tables.items()
    ]
    return summary.markdown(pl.concat(counted))
