"""The card of a data set, for the web page, the report and SQL. What is on it: ``weft/data/card.py``."""

import dagster as dg
import polars as pl

from assets.partitions import DATASETS
from resources.artifacts import ArtifactStore
from resources.storage import ParquetStorage, Rebuild
from weft.cells import Cell
from weft.data.card import DATA, card_of
from weft.data.summary import markdown

_READ = [dg.AssetKey(["interactions", name]) for name in ("interactions", "items", "rejected", "splits")]


@dg.asset(
    key=["reports", "card"],
    group_name="reports",
    partitions_def=DATASETS,
    deps=_READ,
    kinds={"polars", "parquet"},
    code_version="1",
)
def card(context: dg.AssetExecutionContext, io_manager: dg.ResourceParam[ParquetStorage]) -> Rebuild:
    """What the data set is: sizes, density, times, ties, rejected rows, texts, pictures; warm and cold per split."""

    def build() -> pl.DataFrame:
        table = card_of_stored(io_manager.store, context.partition_key)
        told = {about[0]: dg.MetadataValue.md(_shown(facts)) for about, facts in table.group_by("about")}
        context.add_asset_metadata(told, partition_key=context.partition_key)
        return table

    return Rebuild(build)


def card_of_stored(store: ArtifactStore, dataset: str) -> pl.DataFrame:
    """The card of what stands in storage: the data, and the splits of every protocol that was ever asked for."""
    data = Cell(dataset)
    tables = {name: store.scan(f"interactions.{name}", data) for name in ("interactions", "items", "rejected")}
    leaves = store.leaves("interactions.splits", dataset=dataset)
    splits = {str(leaf.cell.protocol): store.scan("interactions.splits", leaf.cell) for leaf in leaves}
    return card_of(tables["interactions"], tables["items"], tables["rejected"], splits)


def _shown(facts: pl.DataFrame) -> str:
    """The facts as Markdown; with a column per split where they are about a protocol."""
    facts = facts.sort("place")
    if facts["about"][0] == DATA:
        return markdown(facts.select("fact", "shown"))
    wide = facts.pivot("split", index="fact", values="shown", maintain_order=True)
    return markdown(wide.fill_null(""))
