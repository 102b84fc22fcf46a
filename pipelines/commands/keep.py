"""``weft export`` and ``weft rollback``: taking an artifact out, and taking its last version back."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import Dataset, Storage, use_storage
from resources import maintenance
from resources.artifacts import ArtifactStore, Leaf
from weft.cells import Cell
from weft.data import registry

Protocol = Annotated[str | None, typer.Option(help="Only this protocol.")]
Variant = Annotated[str | None, typer.Option(help="Only this variant.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Only this seed.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(export)
    app.command()(rollback)


def export(
    asset: Annotated[str, typer.Argument(metavar="GROUP.NAME", help="As behaviour.sasrec.")],
    to: Annotated[Path, typer.Option(help="Folder; made if it is missing.")],
    dataset: Dataset = "storefront",
    protocol: Protocol = None,
    variant: Variant = None,
    seed: Seed = None,
    storage: Storage = None,
) -> None:
    """Writes weights as safetensors and tables as CSV."""
    store = ArtifactStore(use_storage(storage))
    for leaf in _leaves(store, asset, dataset, protocol, variant, seed):
        print(maintenance.export(store, leaf, to))  # noqa: T201 - the answer


def rollback(
    asset: Annotated[str, typer.Argument(metavar="GROUP.NAME", help="As serving.recommendations.")],
    dataset: Dataset = "storefront",
    protocol: Protocol = None,
    variant: Variant = None,
    seed: Seed = None,
    storage: Storage = None,
) -> None:
    """Puts the version before back in place; once more goes one further."""
    store = ArtifactStore(use_storage(storage))
    leaves = _leaves(store, asset, dataset, protocol, variant, seed)
    maintenance.need_earlier(store, leaves)
    for leaf in leaves:
        back = maintenance.rollback(store, leaf)
        print(f"{asset} {back.cell.path}: {leaf.digest[:12]} -> {back.digest[:12]}, {back.rows:,} rows")  # noqa: T201


def _leaves(
    store: ArtifactStore, asset: str, dataset: str, protocol: str | None, variant: str | None, seed: int | None
) -> list[Leaf]:
    """The leaves that the options select.

    Raises:
        RequestError: If the data set is not registered, or the asset is no ``group.name``.
        MissingArtifactError: If there is none.
    """
    registry.load(str(store.base), dataset)
    store.path(asset, Cell(dataset))
    return maintenance.select(store, asset, dataset=dataset, protocol=protocol, variant=variant, seed=seed)
