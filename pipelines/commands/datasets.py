"""``weft datasets``: what data there is, and your own."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.commands.options import Storage, check_source, parse_pairs, use_storage
from pipelines.instance import open_instance
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data import registry
from weft.errors import RequestError


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(invoke_without_command=True, help="Data sets, with sizes and terms of use; add your own.")
    group.callback()(show)
    group.command("add")(add)
    app.add_typer(group, name="datasets")


def show(context: typer.Context, storage: Storage = None) -> None:
    """Lists the data sets of a storage."""
    if context.invoked_subcommand:
        return
    base = use_storage(storage)
    store = ArtifactStore(base)
    table = Table("data set", "format", "source", "users", "items", "interactions", "terms")
    for name, spec in sorted(registry.load_all(base).items()):
        sizes = (_rows(store, f"interactions.{part}", name) for part in ("users", "items", "interactions"))
        where = spec.source or spec.url or spec.origin or "simulated"
        table.add_row(name, spec.format, escape(where), *sizes, escape(spec.terms))
    Console().print(table)


def add(
    name: Annotated[str, typer.Argument(help="a-z, 0-9, '-', '_' and '.'.")],
    source: Annotated[Path | None, typer.Option(help="File or folder.")] = None,
    data_format: Annotated[str | None, typer.Option("--format", help="See docs/datasets.md; else by content.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="YAML with the names of your columns (tabular).")] = None,
    images: Annotated[Path | None, typer.Option(help="Zip or folder of pictures.")] = None,
    image_map: Annotated[Path | None, typer.Option(help="TSV: item id, name of its picture.")] = None,
    production: Annotated[
        bool | None, typer.Option("--production/--no-production", help="Retrain every night.")
    ] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="path=value, as settings.preset=tiny.")] = None,
    storage: Storage = None,
) -> None:
    """Registers a data set: writes storage/datasets/NAME.yaml and makes it a partition."""
    base = use_storage(storage)
    given = {"source": source, "format": data_format, "mapping": mapping, "images": images, "image_map": image_map,
             "production": production}  # fmt: skip
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if mapping is not None:
        changes["mapping"] = registry.read_mapping(mapping)  # for --set to change
    for path, value in parse_pairs(setting or []).items():
        _put(changes, path, value)
    spec = registry.specify(base, name, **changes)
    check_source(base, spec)
    file = registry.save(base, spec)
    with open_instance(base):
        pass  # opening it makes the data set a partition
    print(f"{name}: {file}")  # noqa: T201 - the answer


def _put(tree: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise RequestError(f"--set {path}: {part} has no settings of its own", f"set it whole: --set {part}=…")
    tree[last] = value


def _rows(store: ArtifactStore, asset: str, dataset: str) -> str:
    leaves = store.leaves(asset, dataset=dataset)
    return f"{leaves[0].rows:,}" if leaves and leaves[0].cell == Cell(dataset) else "-"
