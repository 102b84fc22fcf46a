"""Settings that were chosen on the validation split of a data set, as YAML that a person can read and edit.

``weft/models/tuned/<dataset>.yaml`` is shipped. What ``weft tune`` chooses goes to ``tuned/<dataset>.yaml`` of the
storage, which comes first: model by model, under the protocol that it was chosen under. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml
from upath import UPath

from weft.cells import check_key
from weft.data.registry import read_yaml, write_yaml
from weft.errors import RequestError
from weft.evaluation.protocols import PROTOCOLS

Tuned = dict[str, dict[str, Any]]
"""Model to its fields; or protocol to models to their fields, where that differs."""

_HEAD = "# Chosen on the validation split by `weft tune`. Values may be edited; it keeps no comments.\n"


def path_of(storage: str | UPath, dataset: str) -> UPath:
    """Where the settings that were chosen in a storage stand."""
    return UPath(storage) / "tuned" / f"{check_key(dataset, 'data set name')}.yaml"


def tuned(dataset: str, storage: str | UPath | None = None) -> Tuned:
    """What was chosen for a data set: in the storage, and where nothing was chosen there for a model, as shipped.

    Raises:
        SourceError: If the storage's file is no YAML.
        RequestError: If it holds something else than fields of models.
    """
    shipped = _shipped(dataset)
    own = {} if storage is None else _own(path_of(storage, dataset))
    sections = {rule: {**shipped.get(rule, {}), **own.get(rule, {})} for rule in PROTOCOLS if rule in {*shipped, *own}}
    return {**shipped, **own, **sections}


def keep(storage: str | UPath, dataset: str, protocol: str, model: str, fields: Mapping[str, Any]) -> UPath:
    """Writes what was chosen for one model under one protocol; whatever else the file holds stays."""
    path = path_of(storage, dataset)
    own = _own(path)
    own[protocol] = {**own.get(protocol, {}), model: dict(fields)}
    write_yaml(path, own, _HEAD)
    return path


@cache
def _shipped(dataset: str) -> Tuned:
    file = resources.files("weft.models") / "tuned" / f"{dataset}.yaml"
    return (yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}


def _own(path: UPath) -> Tuned:
    own = read_yaml(path) if path.exists() else {}
    for name, section in own.items():
        entries = section.values() if name in PROTOCOLS and isinstance(section, dict) else [section]
        if not all(isinstance(entry, dict) for entry in entries):
            raise RequestError(f"{path}: {name} holds no fields", "write 'model: {field: value}', or delete the file")
    return own
