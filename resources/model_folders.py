"""A model folder as a table and back: tensors as weights, its other files (configuration, tokenizer) as bytes.

What other libraries open is a folder; what storage keeps is a table. Rows named ``file/…`` hold files, all others are
tensors. Not here: what is in the folder, which is for its library to know.
"""

import os
import shutil
import uuid
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
from numpy.typing import NDArray

from resources import weights
from resources.artifacts import ArtifactStore
from weft import digest
from weft.cells import Cell
from weft.errors import IntegrityError

FILE = "file/"
"""Starts the name of a row that holds a file."""

_TENSORS = ".safetensors"

_KEPT = 3
_DIGEST = ".digest"


def to_table(folder: Path) -> pl.DataFrame:
    """All files of a model folder (schema ``Weights``); tensors under the name of their file and their own.

    Raises:
        IntegrityError: If the folder holds no tensors.
    """
    from safetensors.numpy import load_file  # noqa: PLC0415 - only where models are

    arrays: dict[str, NDArray[np.generic]] = {}
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == _TENSORS:
            arrays |= {f"{name}/{tensor}": array for tensor, array in load_file(path).items()}
        else:
            arrays[f"{FILE}{name}"] = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    if all(name.startswith(FILE) for name in arrays):
        raise IntegrityError(f"{folder} holds no {_TENSORS} file", "train the model again")
    return weights.to_table(arrays)


def to_folder(table: pl.DataFrame, folder: Path) -> None:
    """The folder that ``to_table`` read.

    Raises:
        IntegrityError: If a row names a file outside the folder, or parts are missing.
    """
    from safetensors.numpy import save_file  # noqa: PLC0415 - only where models are

    tensors: dict[str, dict] = {}
    for name, array in weights.from_table(table).items():
        if name.startswith(FILE):
            path = _inside(folder, name.removeprefix(FILE))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(array.tobytes())
        else:
            file, _, tensor = name.partition(f"{_TENSORS}/")
            tensors.setdefault(f"{file}{_TENSORS}", {})[tensor] = array
    for name, arrays in tensors.items():
        path = _inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, path, metadata={"format": "pt"})


def opened(store: ArtifactStore, asset: str, cell: Cell) -> tuple[Path, str]:
    """The folder of a model that is kept as an artifact, made where it is not there yet; and its revision.

    The revision is the digest of the artifact, so that what was made with an older model can be told.

    Raises:
        MissingArtifactError: If the model has not been made.
    """
    leaf, frame = store.load(asset, cell)  # each time: whoever asks is made from it
    revision = leaf.digest
    folder = store.work.parent / ".cache" / "models" / f"{asset}-{revision[:16]}"
    if not _whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
        aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        try:
            to_folder(frame.collect(), aside)
            (aside / _DIGEST).write_text(digest.of_folder(aside), encoding="ascii")
            aside.replace(folder)  # in one step: two stages may want it at once
        except OSError:
            if not _whole(folder):
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    os.utime(folder)
    _forget_old(folder.parent, asset)
    return folder, revision


def _whole(folder: Path) -> bool:
    """Whether an unpacked model is there as it was unpacked."""
    told = folder / _DIGEST
    return told.is_file() and told.read_text(encoding="ascii") == digest.of_folder(folder)


def is_folder(table: pl.DataFrame) -> bool:
    """Whether the table holds a model folder, not the arrays of one of weft's own models."""
    return bool(table["tensor"].str.starts_with(FILE).any())


def _forget_old(parent: Path, asset: str) -> None:
    """Keeps the folders of the few models of this asset that were asked for last."""
    folders = sorted(parent.glob(f"{asset}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in folders[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise IntegrityError(f"a model may not hold a file {name!r}", "make it again")
    return folder.joinpath(*path.parts)
