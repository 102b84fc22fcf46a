"""The settings of a model on a data set: defaults, what was chosen on validation, what somebody asks for."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError
from upath import UPath

from weft.errors import RequestError
from weft.evaluation.protocols import PROTOCOLS
from weft.models.settings.base import ModelSettings
from weft.models.settings.tuned import tuned

_Kind = TypeVar("_Kind", bound=ModelSettings)


def resolve(
    settings: type[_Kind],
    model: str,
    dataset: str,
    overrides: dict[str, Any],
    protocol: str | None = None,
    storage: str | UPath | None = None,
) -> _Kind:
    """The settings of ``model`` on ``dataset``: defaults, then what was chosen for it, then ``overrides``.

    Chosen for a ranking protocol is the data set's own section, then that of the protocol. Under a pointwise protocol
    the defaults for pairs count, then the section of the protocol: what was chosen for rankings says nothing there.

    Args:
        settings: Class of the settings.
        model: Name of the model.
        dataset: Name of the data set.
        overrides: Fields that somebody sets.
        protocol: Name of the protocol.
        storage: Whose own choices come before those that are shipped.

    Raises:
        RequestError: If a name is unknown, a value is out of bounds, or the loss cannot use a protocol's labels.
    """
    pairs = protocol is not None and PROTOCOLS[protocol].kind == "pointwise"
    base, special = _chosen(settings, model, dataset, protocol, storage)
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


def stated(
    settings: ModelSettings, model: str, dataset: str, protocol: str, storage: str | UPath | None = None
) -> dict[str, Any]:
    """What has to be kept of ``settings``, under their protocol, for ``resolve`` to give them back."""
    base, _ = _chosen(type(settings), model, dataset, protocol, storage)
    told, without = (each.model_dump(mode="json") for each in (settings, type(settings)()))
    return {name: value for name, value in told.items() if value != without[name] or name in base}


def _chosen(
    settings: type[ModelSettings], model: str, dataset: str, protocol: str | None, storage: str | UPath | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands over the defaults for a data set, and for a protocol over that."""
    chosen = tuned(dataset, storage)
    pairs = protocol is not None and PROTOCOLS[protocol].kind == "pointwise"
    special = chosen.get(protocol, {}).get(model, {}) if protocol else {}
    return settings.for_pairs if pairs else chosen.get(model, {}), special
