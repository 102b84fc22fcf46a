"""``weft export`` and ``weft rollback``: taking an artifact out, and taking its last version back."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipelines.commands.options import Dataset, Storage, use_storage
from resources import weights
from resources.artifacts import ArtifactStore, Leaf
from weft.cells import check_key
from weft.errors import MissingArtifactError, RequestError
from weft.schemas import Weights, schema_of

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
    """Writes weights as safetensors and tables as CSV (Parquet where a column holds lists or bytes)."""
    store = ArtifactStore(use_storage(storage))
    to.mkdir(parents=True, exist_ok=True)
    for leaf in _leaves(store, asset, dataset, protocol, variant, seed):
        name = "-".join([asset, *(value for _, value in leaf.cell.parts())])
        print(_write(store, leaf, to / name))  # noqa: T201 - the answer


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
    for leaf in _leaves(store, asset, dataset, protocol, variant, seed):
        back = store.rollback(asset, leaf.cell)
        print(f"{asset} {back.cell.path}: {leaf.digest[:12]} -> {back.digest[:12]}, {back.rows:,} rows")  # noqa: T201


def _leaves(
    store: ArtifactStore, asset: str, dataset: str, protocol: str | None, variant: str | None, seed: int | None
) -> list[Leaf]:
    """The leaves that the options select.

    Raises:
        RequestError: If the asset is no ``group.name``.
        MissingArtifactError: If there is none.
    """
    group, dot, name = asset.partition(".")
    if not dot or "." in name:
        raise RequestError(f"{asset!r} is no GROUP.NAME", "for example behaviour.sasrec")
    for part in (group, name):
        check_key(part, "asset name")
    wanted = {"dataset": dataset, "protocol": protocol, "variant": variant, "seed": seed}
    leaves = store.leaves(asset, **{key: value for key, value in wanted.items() if value is not None})
    if not leaves:
        raise MissingArtifactError(f"{asset} has not been made for {dataset}", f"weft run --dataset {dataset}")
    return leaves


def _write(store: ArtifactStore, leaf: Leaf, stem: Path) -> Path:
    frame = store.read(leaf.asset, leaf.cell)
    if schema_of(leaf.asset, frame.schema) is Weights:
        from safetensors.numpy import save_file  # noqa: PLC0415 - only here

        file = stem.with_name(stem.name + ".safetensors")
        tensors = {name: np.ascontiguousarray(array) for name, array in weights.from_table(frame).items()}
        save_file(tensors, file, metadata=store.footer(leaf.asset, leaf.cell))
    elif any(dtype.is_nested() or dtype.to_python() is bytes for dtype in frame.dtypes):
        file = stem.with_name(stem.name + ".parquet")
        frame.write_parquet(file)
    else:
        file = stem.with_name(stem.name + ".csv")
        frame.write_csv(file)
    return file
