"""The settings of a model on a data set: defaults, what was chosen on validation, what somebody asks for."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from weft.errors import RequestError
from weft.evaluation.protocols import PROTOCOLS
from weft.models.settings.base import ModelSettings


@cache
def _tuned(dataset: str) -> dict[str, dict[str, Any]]:
    file = resources.files("weft.models") / "tuned" / f"{dataset}.yaml"
    return (yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}


_Kind = TypeVar("_Kind", bound=ModelSettings)


def resolve(
    settings: type[_Kind], model: str, dataset: str, overrides: dict[str, Any], protocol: str | None = None
) -> _Kind:
    """The settings of ``model`` on ``dataset``: defaults, then what was tuned, then ``overrides``.

    Tuned for a ranking protocol is the data set's own section, then that of the protocol. Under a pointwise protocol
    the defaults for pairs count, then the section of the protocol: what was chosen for rankings says nothing there.

    Raises:
        RequestError: If a name is unknown, a value is out of bounds, or the loss cannot use a protocol's labels.
    """
    tuned = _tuned(dataset)
    pairs = protocol is not None and PROTOCOLS[protocol].kind == "pointwise"
    base = settings.for_pairs if pairs else tuned.get(model, {})
    special = tuned.get(protocol, {}).get(model, {}) if protocol else {}
    try:
        made = settings(**{**base, **special, **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join([model, *map(str, first["loc"])])
        raise RequestError(f"setting {field}: {first['msg']}", f"fields: {', '.join(settings.model_fields)}") from error
    loss = getattr(made, "loss", None)
    if pairs and loss != settings.for_pairs.get("loss"):
        raise RequestError(f"{model}.loss={loss} cannot use the labels of {protocol}", f"leave {model}.loss out")
    return made
