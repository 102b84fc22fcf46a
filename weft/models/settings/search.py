"""What `weft tune` varies: declared on the fields of the settings, beside their bounds. Imports no torch.

``learning_rate: float = Field(1e-3, …, json_schema_extra=between(3e-4, 1e-2, log=True))``. A field that a subclass
states anew, for another default, stays in the space of its base class; ``among()`` takes it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_KEY = "search"


@dataclass(frozen=True)
class Between:
    """Real numbers from ``low`` to ``high``, drawn on a logarithmic scale where ``log`` says so."""

    low: float
    high: float
    log: bool = False

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Among:
    """One of a few values, without an order."""

    values: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.values


Space = Mapping[str, Between | Among]
"""Field of the settings to what is tried for it."""


def between(low: float, high: float, *, log: bool = False) -> dict[str, Any]:
    """For a field's ``json_schema_extra``: it is searched between two numbers, both of them possible."""
    return {_KEY: {"low": low, "high": high, "log": log}}


def among(*values: Any) -> dict[str, Any]:
    """For a field's ``json_schema_extra``: these values are tried; none at all, and it is not searched."""
    return {_KEY: list(values)}


def space_of(settings: type[BaseModel]) -> dict[str, Between | Among]:
    """The fields of ``settings`` that are searched, in their order; empty where there is nothing to choose."""
    found = {name: _declared(settings, name) for name in settings.model_fields}
    return {name: _range(declared) for name, declared in found.items() if declared}


def _declared(settings: type[BaseModel], name: str) -> Any:
    """What the nearest class says that says anything."""
    for each in settings.__mro__:
        field = getattr(each, "model_fields", {}).get(name) if issubclass(each, BaseModel) else None
        extra = None if field is None else field.json_schema_extra
        if isinstance(extra, dict) and _KEY in extra:
            return extra[_KEY]
    return None


def _range(declared: Any) -> Between | Among:
    return Between(**declared) if isinstance(declared, dict) else Among(tuple(declared))
