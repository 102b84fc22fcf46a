"""Options that several commands share, and what each command does first."""

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape

from pipelines.instance import local_folder, storage_base
from weft.data import registry
from weft.data.registry import DatasetSpec
from weft.data.sources import open_source
from weft.errors import RequestError

Storage = Annotated[
    str | None, typer.Option(help="Where artifacts live: a folder or an fsspec URL. Else WEFT_STORAGE, else ./storage.")
]
Dataset = Annotated[str, typer.Option("--dataset", "-d", help="Name of the data set.")]


def use_storage(storage: str | None) -> str:
    """Makes ``storage`` the one that everything works on, with the built-in data sets registered; returns its base."""
    if storage:
        os.environ["WEFT_STORAGE"] = storage
    base = os.environ["WEFT_STORAGE"] = storage_base()
    registry.register_built_in(base)
    return base


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """``path=value`` pairs; values are read as YAML scalars (``64``, ``0.1``, ``1e-3``, ``true``, ``cosine``).

    Raises:
        RequestError: If one is no pair.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        path, equals, value = pair.partition("=")
        if not equals or not path.strip():
            raise RequestError(f"--set {pair} is no path=value", "for example --set sasrec.width=128")
        settings[path.strip()] = _scalar(value)
    return settings


def _scalar(text: str) -> Any:
    """The value of a YAML scalar; also of a number such as ``1e-3``, which YAML 1.1 takes for text."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str) and value == text.strip() and "_" not in value:
        with suppress(ValueError):
            number = float(value)
            return number if math.isfinite(number) else value
    return value


def check_source(base: str, spec: DatasetSpec) -> None:
    """Looks at the files of a data set before any work, and says what cannot be done with them.

    Raises:
        SourceError: If a file is missing, empty, unsafe, of the wrong kind or checksum, or lacks a column.
    """
    downloads = local_folder(base) / ".cache" / "downloads"
    for note in open_source(spec, downloads).check():
        Console(stderr=True).print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False, soft_wrap=True)
