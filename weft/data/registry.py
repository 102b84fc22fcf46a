"""Data sets by name: where each one lives and how its columns are called, as YAML that a person can read and edit.

``storage/datasets/NAME.yaml`` is all that a run knows about a data set, so that a run from the web page or the nightly
schedule finds what the command line found. Not here: reading the data (``sources.py``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from upath import UPath

from weft.cells import check_key, is_key
from weft.data.archives import open_archive
from weft.data.built_in import BUILT_IN
from weft.data.formats import amazon, book_crossing, cross_domain
from weft.data.mapping import TABLE_ENDINGS
from weft.data.spec import DatasetSpec
from weft.errors import RequestError, SourceError, WeftError

_LOG = logging.getLogger("weft")


def path_of(storage: str | UPath, name: str) -> UPath:
    """Where the YAML of ``name`` stands."""
    return UPath(storage) / "datasets" / f"{check_key(name, 'data set name')}.yaml"


def names(storage: str | UPath) -> list[str]:
    """Names of all registered data sets, sorted; files whose names are no keys are left out."""
    return [name for name in _stems(storage) if is_key(name)]


def _stems(storage: str | UPath) -> list[str]:
    folder = UPath(storage) / "datasets"
    return sorted(each.name.removesuffix(".yaml") for each in folder.glob("*.yaml")) if folder.exists() else []


def load(storage: str | UPath, name: str) -> DatasetSpec:
    """Reads one data set.

    Raises:
        RequestError: If the name is not registered, or its file does not hold what it should.
    """
    path = path_of(storage, name)
    if not path.exists():
        known = ", ".join(names(storage)) or "none"
        raise RequestError(f"there is no data set {name!r}", f"registered: {known}; add it with `weft datasets add`")
    content = read_yaml(path)
    return _validated({**content, "name": name}, str(path))


def save(storage: str | UPath, spec: DatasetSpec) -> UPath:
    """Writes one data set, in one step where the storage is a local folder."""
    path = path_of(storage, spec.name)
    write_yaml(path, spec.model_dump(mode="json", exclude_defaults=True))
    return path


def load_all(storage: str | UPath) -> dict[str, DatasetSpec]:
    """All registered data sets and the built-in ones; a file that cannot be used is left out with a warning."""
    specs = dict(BUILT_IN)
    for name in _stems(storage):
        try:
            specs[name] = load(storage, name)
        except WeftError as error:
            specs.pop(name, None)
            _LOG.warning("%s is left out: %s", UPath(storage) / "datasets" / f"{name}.yaml", error.culprit)
    return specs


def register_built_in(storage: str | UPath) -> list[str]:
    """Writes the built-in data sets that are not there yet; what a person has edited stays. Returns all names."""
    for spec in BUILT_IN.values():
        if not path_of(storage, spec.name).exists():
            save(storage, spec)
    return names(storage)


def specify(storage: str | UPath, name: str, **changes: Any) -> DatasetSpec:
    """The data set ``name`` as registered or built in, or a new one, with ``changes`` (None changes nothing).

    Paths become absolute, since a run may start in another folder. A ``mapping`` may be the path of a YAML file. A new
    data set without a format gets the one that its source looks like. With a new ``source`` the checksum of the old
    one no longer counts. Nothing is written: see ``save``.

    Raises:
        RequestError: If a setting is unknown or does not fit the others, or a new data set comes without a source.
        SourceError: If the source or the mapping file cannot be read.
    """
    registered = path_of(storage, name).exists()
    base = load(storage, name) if registered else BUILT_IN.get(name)
    changes = {key: value for key, value in changes.items() if value is not None}
    for key in ("source", "images", "image_map"):
        if key in changes:
            changes[key] = str(Path(changes[key]).expanduser().absolute())
    if base is None and not changes.keys() & {"source", "url", "format"}:
        raise RequestError(
            f"there is no data set {name!r}",
            f"choose from {', '.join(load_all(storage))}, or add it with --source PATH",
        )
    fields: dict[str, Any] = base.model_dump(exclude_defaults=True) if base else {"name": name}
    if base is None:
        fields["format"] = _looks_like(changes)
    if changes.get("format", fields["format"]) == "cross-domain-tsv":  # only the last item of a held-out sequence
        fields = _merged({"protocols": {"predefined": {"targets": "last"}}}, fields)
    if "source" in changes:
        fields.pop("checksum", None)
    if isinstance(changes.get("mapping"), str | Path):
        fields["mapping"] = read_mapping(Path(changes.pop("mapping")))
    return _validated(_merged(fields, changes), f"data set {name}")


def _looks_like(changes: Mapping[str, Any]) -> str:
    """Format of a source nobody named one for; what is not known by its files is tabular."""
    path = Path(changes.get("source", ""))
    if "format" in changes or "source" not in changes:
        return "tabular"
    if path.name.lower().endswith(TABLE_ENDINGS):
        return "amazon" if amazon.is_reviews(path) else "tabular"
    archive = open_archive(path)
    if archive.find("ratings.dat", "u.data") or (archive.find("ratings.csv") and archive.find("movies.csv")):
        return "movielens"
    if archive.find(book_crossing.RATINGS):
        return "book-crossing"
    if path.is_dir() and cross_domain.files_of(path):
        return "cross-domain-tsv"
    return "amazon" if path.is_dir() and amazon.reviews_in(path) else "tabular"


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``old`` with the leaves of ``new`` put in."""
    both = dict(old)
    for key, value in new.items():
        inside = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merged(both[key], value) if inside else value
    return both


def read_mapping(path: Path) -> dict[str, Any]:
    """A column mapping from YAML; the item file that it names becomes absolute, seen from the mapping's folder."""
    content = read_yaml(path)
    items = content.get("items")
    if isinstance(items, dict) and isinstance(items.get("file"), str):
        items["file"] = str((path.expanduser().absolute().parent / items["file"]).resolve())
    return content


def write_yaml(path: UPath, content: Mapping[str, Any], head: str = "") -> None:
    """Writes ``head`` and a table of keys, in one step where the storage is a local folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = head + yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    if path.protocol in ("", "file"):
        staged = Path(path.parent.path) / f".{path.stem}.{os.getpid()}.tmp"
        staged.write_text(text, encoding="utf-8")
        staged.replace(path.path)
    else:
        path.write_text(text, encoding="utf-8")


def read_yaml(path: Path | UPath) -> dict[str, Any]:
    """A YAML file that holds a table of keys."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(
            f"{path} cannot be read as YAML: {' '.join(str(error).split())}", "correct the file"
        ) from error
    if not isinstance(content, dict):
        raise SourceError(f"{path} holds no keys", "write one 'key: value' per line")
    return content


def _validated(fields: dict[str, Any], where: str) -> DatasetSpec:
    try:
        return DatasetSpec(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestError(
            f"{where}: {place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error
