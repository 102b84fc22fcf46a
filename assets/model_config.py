"""The run configuration of a model, derived from its settings class, so that the Launchpad explains itself."""

from enum import Enum
from typing import Any, Literal, get_args, get_origin

import dagster as dg
from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, create_model
from pydantic.fields import FieldInfo
from upath import UPath

from weft.models.registry import Entry
from weft.models.settings import ModelSettings, resolve


class ModelConfig(dg.Config):
    """Base of the derived classes: a field left out means the value tuned for the data set, else the default."""

    def overrides(self) -> dict[str, Any]:
        """The fields that were set, as plain values."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {k: v.value if isinstance(v, Enum) else v for k, v in given.items() if v is not None}


def config_class(entry: Entry) -> type[ModelConfig]:
    """One optional field per setting of ``entry``, with its bounds and its default in the description."""
    return config_of(entry.name, entry.settings)


def config_of(model: str, settings: type[ModelSettings], base: type[ModelConfig] = ModelConfig) -> type[ModelConfig]:
    """The same for any settings, besides the fields of ``base``."""
    fields: dict[str, Any] = {
        name: (_type(model, name, field) | None, Field(None, description=_description(field)))
        for name, field in settings.model_fields.items()
    }
    return create_model(f"{_camel(model)}Config", __base__=base, **fields)


def settings_of(
    entry: Entry,
    dataset: str,
    config: ModelConfig,
    protocol: str | None = None,
    storage: str | UPath | None = None,
) -> ModelSettings:
    """The settings that ``config`` means for ``dataset`` under ``protocol``; out of bounds is refused here.

    Raises:
        RequestError: If a value is out of bounds.
    """
    return resolve(entry.settings, entry.name, dataset, config.overrides(), protocol, storage)


def _type(model: str, name: str, field: FieldInfo) -> Any:
    """Dagster knows no optional ``Literal``: an enumeration shows the same choices. It knows no tuple: a list."""
    if get_origin(field.annotation) is Literal:
        values = get_args(field.annotation)
        return Enum(_camel(f"{model}_{name}"), {value: value for value in values})
    if get_origin(field.annotation) is tuple:
        return list[get_args(field.annotation)[0]]  # type: ignore[misc]
    return field.annotation


def _description(field: FieldInfo) -> str:
    signs = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
    bounds = [f"{signs[type(b)][0]} {getattr(b, signs[type(b)][1]):g}" for b in field.metadata if type(b) in signs]
    return " ".join([field.description or "", f"Default {field.default!r}" + "".join(f", {b}" for b in bounds) + "."])


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
