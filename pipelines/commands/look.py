"""Commands that only look: query, report, recommend, systems."""

import json
import sys
from enum import StrEnum
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.commands.options import Dataset, Storage, use_storage
from resources import catalogue
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data import registry
from weft.errors import RequestError
from weft.models.registry import MODELS
from weft.reporting.labels import BOUNDS
from weft.systems.registry import SYSTEMS


class Format(StrEnum):
    """How the answer of a query is written."""

    table = "table"
    json = "json"
    csv = "csv"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (query, report, recommend, systems):
        app.command()(command)


def report(dataset: Dataset = "storefront", storage: Storage = None) -> None:
    """Prints the leaderboard and writes the HTML report."""
    base = use_storage(storage)
    registry.load(base, dataset)
    from pipelines.report import show, write  # noqa: PLC0415 - tables and charts are slow to import

    console = Console()
    show(base, dataset, console)
    console.print(str(write(base, dataset)), highlight=False, soft_wrap=True)


def recommend(
    user: Annotated[str, typer.Option("--user", "-u", help="The user's id, as your data have it.")],
    dataset: Dataset = "storefront",
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 10,
    storage: Storage = None,
) -> None:
    """Prints the top items of one user with their titles."""
    base = use_storage(storage)
    registry.load(base, dataset)
    served = ArtifactStore(base).scan("serving.recommendations", Cell(dataset))
    found = served.filter((pl.col("user_id") == user) & (pl.col("user") > 0)).sort("rank").head(n).collect()
    console = Console()
    if found.is_empty():
        console.print(f"user {escape(user)} is not known: what is popular lately", highlight=False)
        found = served.filter(pl.col("user") == 0).sort("rank").head(n).collect()
    table = Table("", "title", "item", "score", "because of")
    for row in found.iter_rows(named=True):
        table.add_row(str(row["rank"]), escape(row["title"] or "-"), escape(row["item_id"]), f"{row['score']:.3f}",
                      escape(row["because"] or "-"))  # fmt: skip
    console.print(table)
    console.print(f"by {found['system'][0]}" if len(found) else "nothing to recommend", highlight=False)


def systems() -> None:
    """Lists the systems and their settings, with defaults and bounds."""
    from assets.model_config import config_class  # noqa: PLC0415 - imports Dagster
    from pipelines.runs import SETS  # noqa: PLC0415 - the same

    console = Console()
    for name, belongs in SETS.items():
        told = ", ".join(system for system in (*MODELS, *SYSTEMS, *BOUNDS) if belongs(system))
        console.print(f"[bold]--systems {name}[/bold]  {told}", highlight=False, soft_wrap=True)
    for name, entry in MODELS.items():
        console.print(f"[bold]{name}[/bold]  {escape(entry.title)}", highlight=False)
        for setting, field in config_class(entry).model_fields.items():
            console.print(
                f"  --set {name}.{setting}=…  {escape(field.description or '')}", highlight=False, soft_wrap=True
            )
    for name, system in SYSTEMS.items():
        console.print(f"[bold]{name}[/bold]  {escape(system.title)}", highlight=False)
        for variant, one in system.variants.items():
            console.print(f"  --variants {variant}  {escape(one.about)}", highlight=False, soft_wrap=True)
    for bound, title in BOUNDS.items():
        console.print(f"[bold]{bound}[/bold]  {title}", highlight=False)


def query(
    sql: Annotated[str, typer.Argument(help="select … from group.name")],
    output: Annotated[Format, typer.Option("--format", help="How the answer is written.")] = Format.table,
    storage: Storage = None,
) -> None:
    """Runs SQL over the artifacts; never stale and never locked out. Frees a catalogue that is held for writing."""
    import duckdb  # noqa: PLC0415 - only here

    store = ArtifactStore(use_storage(storage))
    catalogue.free(store)
    try:
        found = catalogue.query(store, sql)
    except duckdb.Error as error:
        raise RequestError(
            " ".join(str(error).split())[:400], '`weft query "show all tables"` lists what there is'
        ) from error
    if output is Format.json:
        sys.stdout.write(json.dumps(found.to_dicts(), default=str) + "\n")
    elif output is Format.csv:
        flat = [pl.col(name).map_elements(str, pl.String) for name, kind in found.schema.items() if kind.is_nested()]
        found.with_columns(flat).write_csv(sys.stdout)
    else:
        table = Table(*(escape(name) for name in found.columns))
        for row in found.iter_rows():
            table.add_row(*("" if value is None else escape(str(value)) for value in row))
        Console().print(table)
