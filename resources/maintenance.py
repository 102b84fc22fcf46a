"""What a person does to a storage by hand: look for damage, take something out, put a version back."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from resources import catalogue, model_folders, weights
from resources.artifacts import ArtifactStore, Leaf
from resources.places import stale_staging
from weft.errors import MissingArtifactError, WeftError
from weft.schemas import Weights, schema_of


@dataclass(frozen=True)
class Problem:
    """Something that is wrong in a storage.

    Attributes:
        path: The file.
        what: What is wrong with it.
        remedy: What to do.
        damage: Whether data are damaged; what a killed write left behind is only untidy.
    """

    path: str
    what: str
    remedy: str
    damage: bool = True


def doctor(store: ArtifactStore) -> Iterator[Problem]:
    """Reads every leaf and every kept version whole, and yields what is wrong as it is found."""
    for leaf in store.leaves():
        try:
            store.verify(leaf)
        except WeftError as error:
            yield Problem(str(leaf.path), error.culprit, error.remedy)
        yield from _versions(store, leaf)
    if store.place.local:
        base = Path(store.base.path)
        for file in sorted(file for folder in {*base.glob("*/*/dataset=*/**/")} for file in stale_staging(folder)):
            yield Problem(str(file), f"{file} was left by a killed write", "the next write removes it", damage=False)


def select(store: ArtifactStore, asset: str, **selectors: str | int | None) -> list[Leaf]:
    """The leaves of one asset that the selectors choose (None chooses all).

    Raises:
        MissingArtifactError: If there is none.
    """
    chosen = {name: value for name, value in selectors.items() if value is not None}
    leaves = store.leaves(asset, **chosen)
    if not leaves:
        told = ", ".join(f"{name} {value}" for name, value in chosen.items())
        raise MissingArtifactError(f"{asset} has not been made for {told or 'any data set'}", f"materialise {asset}")
    return leaves


def need_earlier(store: ArtifactStore, leaves: Iterable[Leaf]) -> None:
    """Makes sure that every leaf can be rolled back, before any is.

    Raises:
        MissingArtifactError: If one has no earlier version.
    """
    for leaf in leaves:
        if all(version.undone for version in store.history(leaf.asset, leaf.cell)):
            raise MissingArtifactError(
                f"{leaf.asset} of {leaf.cell.path} has no earlier version", "nothing was changed; make it again instead"
            )


def export(store: ArtifactStore, leaf: Leaf, to: Path) -> Path:
    """Writes a leaf into the folder ``to``: a model as its folder, weights as safetensors, any other table as CSV.

    Lists stand in the CSV as JSON, bytes as base64. The footer goes along: in the safetensors header, or as JSON
    beside the CSV.

    Returns:
        The file, or the model's folder.

    Raises:
        IntegrityError: If the leaf is not what was written.
    """
    to.mkdir(parents=True, exist_ok=True)
    stem = "-".join([leaf.asset, *(value for _, value in leaf.cell.parts())])
    frame, footer = store.read(leaf.asset, leaf.cell), store.footer(leaf.asset, leaf.cell)
    if schema_of(leaf.asset, frame.schema) is Weights:
        if model_folders.is_folder(frame):
            model_folders.to_folder(frame, to / stem)
            return to / stem
        from safetensors.numpy import save_file  # noqa: PLC0415 - only here

        file = to / f"{stem}.safetensors"
        save_file(weights.from_table(frame), file, metadata=footer)
        return file
    file = to / f"{stem}.csv"
    frame.select(_flat(name, kind) for name, kind in frame.schema.items()).write_csv(file)
    (to / f"{stem}.json").write_text(json.dumps(footer, indent=2), encoding="utf-8")
    return file


def rollback(store: ArtifactStore, leaf: Leaf) -> Leaf:
    """Puts the version before ``leaf`` back and makes the catalogue show it; once more goes one further back.

    Raises:
        MissingArtifactError: If there is none.
    """
    back = store.rollback(leaf.asset, leaf.cell)
    catalogue.refresh(store)
    return back


def _versions(store: ArtifactStore, leaf: Leaf) -> Iterator[Problem]:
    for version in store.history(leaf.asset, leaf.cell):
        try:
            store.verify_version(version)
        except WeftError as error:
            yield Problem(str(version.path), error.culprit, error.remedy)


def _flat(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.List | pl.Array):
        return column.map_elements(lambda values: json.dumps(list(values)), return_dtype=pl.String)
    if isinstance(kind, pl.Struct):
        return column.struct.json_encode()
    return column.bin.encode("base64") if kind == pl.Binary else column
