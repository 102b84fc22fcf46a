"""``weft run``: from a data set to a leaderboard, through the same jobs as in the web UI."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import runs
from pipelines.commands.options import Storage, check_source, parse_pairs, use_storage
from pipelines.follow import Seen
from pipelines.instance import open_instance
from resources.profiles import PROFILES
from weft.data import registry
from weft.data.registry import DatasetSpec
from weft.errors import RequestError
from weft.evaluation.protocols import protocol
from weft.progress import duration


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(run)


def run(
    dataset: Annotated[str, typer.Option("--dataset", "-d", help="Name of the data set.")] = "storefront",
    source: Annotated[Path | None, typer.Option(help="File or folder to add the data set from, first.")] = None,
    data_format: Annotated[str | None, typer.Option("--format", help="See docs/datasets.md; else by content.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="YAML with the names of your columns (tabular).")] = None,
    images: Annotated[Path | None, typer.Option(help="Zip or folder of pictures.")] = None,
    image_map: Annotated[Path | None, typer.Option(help="TSV: item id, name of its picture.")] = None,
    systems: Annotated[
        str, typer.Option(help=f"{', '.join(runs.SETS)}, or names separated by commas: `weft systems` lists them.")
    ] = "main",
    protocols: Annotated[str, typer.Option(help="Names separated by commas; else the headlines.")] = "",
    variants: Annotated[str, typer.Option(help="full, all, or names separated by commas.")] = "full",
    seeds: Annotated[str, typer.Option(help="Whole numbers separated by commas.")] = "0",
    profile: Annotated[str, typer.Option(help=f"Which models: {', '.join(PROFILES)}.")] = "offline",
    setting: Annotated[list[str] | None, typer.Option("--set", help="path=value, as sasrec.width=128.")] = None,
    storage: Storage = None,
) -> None:
    """Runs systems on a data set: ingest, fit, rank, report, recommend."""
    base = use_storage(storage)
    spec = registry.specify(
        base, dataset, source=source, format=data_format, mapping=mapping, images=images, image_map=image_map
    )
    request = runs.request(
        spec, systems=systems, protocols=protocols, variants=variants, seeds=seeds, profile=profile,
        settings=parse_pairs(setting or []),
    )  # fmt: skip
    check_protocols(request.protocols, spec)
    check_source(base, spec)
    if dataset not in registry.names(base) or registry.load(base, dataset) != spec:  # a person's comments stay
        registry.save(base, spec)
    console = Console()
    with open_instance(base) as instance:
        succeeded, seen = runs.execute(request, instance, console)
    if not succeeded:
        explain(seen, console)
        raise typer.Exit(1)
    _timing(seen, console)
    from pipelines.report import show, write  # noqa: PLC0415 - tables and charts are slow to import

    show(base, dataset, console)
    console.print(f"report: {write(base, dataset)}", highlight=False, soft_wrap=True)


def check_protocols(protocols: list[str], spec: DatasetSpec) -> None:
    """Refuses protocols that need a column which the data set is known to lack."""
    columns = set()  # as the interactions call them
    if spec.has_times:
        columns.add("timestamp")
    if spec.has_ratings:
        columns.add("rating")
    if spec.comes_split:
        columns.add("part")
    if spec.format == "storefront" or spec.mapping.interactions.session is not None:
        columns.add("session_id")
    for name in protocols:
        if lacking := protocol(name, spec.protocols.get(name)).lacks(columns):
            wanted = lacking.replace("session_id", "session")  # as the mapping calls it
            raise RequestError(
                f"protocol {name!r} needs {wanted} and the mapping of {spec.name} names none",
                "map the column, or use --protocols leave_one_out",
            )


def _timing(seen: Seen, console: Console) -> None:
    table = Table(title="seconds per step", title_justify="left")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for step, seconds in seen.seconds.items():
        table.add_row(escape(step), f"{seconds:.1f}")
    console.print(table)
    console.print(f"{len(seen.seconds)} steps, {duration(sum(seen.seconds.values()))} of work", highlight=False)


def explain(seen: Seen, console: Console) -> None:
    """The first error of each failed step; Dagster's page has the traceback."""
    for step, error in seen.failed.items():
        console.print(f"[red]error:[/red] {escape(step)}: {escape(error)}", highlight=False, soft_wrap=True)
    if not seen.failed:
        console.print("[red]error:[/red] the run did not finish; `weft ui` shows why", highlight=False)
