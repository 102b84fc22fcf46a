"""The protocols by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from weft.data.sequences import Events
from weft.errors import RequestError
from weft.evaluation.protocols.base import Protocol
from weft.evaluation.protocols.candidates_20 import PaperCandidates20
from weft.evaluation.protocols.controls import PaperLeaky
from weft.evaluation.protocols.global_time import GlobalTime
from weft.evaluation.protocols.leave_one_out import LeaveOneOut, LeaveOneOutTop1000
from weft.evaluation.protocols.pointwise import PointwiseCollmMonths, PointwiseTime
from weft.evaluation.protocols.predefined import Predefined
from weft.evaluation.protocols.sampling import Paper999Sampled
from weft.evaluation.protocols.sessions import PaperSessionsUserOrder, Sessions
from weft.evaluation.protocols.tallrec import PaperTallrecBlocks

PROTOCOLS: dict[str, Protocol] = {
    each.name: each
    for each in (
        LeaveOneOut(),
        LeaveOneOutTop1000(),
        GlobalTime(),
        Sessions(),
        Predefined(),
        PointwiseTime(),
        PointwiseCollmMonths(),
        PaperTallrecBlocks(),
        PaperSessionsUserOrder(),
        Paper999Sampled(),
        PaperCandidates20(),
        PaperLeaky(),
    )
}
"""Registered protocols with their default rules."""


def protocol(name: str, settings: Mapping[str, Any] | None = None) -> Protocol:
    """The protocol called ``name``, with rules that a data set sets for itself (for example its own cuts).

    Raises:
        RequestError: If there is no such protocol, or a rule is unknown or out of bounds.
    """
    if name not in PROTOCOLS:
        raise RequestError(f"there is no protocol {name!r}", f"choose from {', '.join(PROTOCOLS)}")
    kind = type(PROTOCOLS[name])
    try:
        return kind(**(settings or {}))
    except ValidationError as error:
        first = error.errors()[0]
        rule = ".".join([name, *map(str, first["loc"])])
        raise RequestError(f"protocol rule {rule}: {first['msg']}", f"rules: {', '.join(kind.model_fields)}") from error


def headline(*, comes_split: bool) -> str:
    """Name of the protocol that a data set is judged by: its own parts where it comes split, else leave-one-out."""
    return Predefined.name if comes_split else LeaveOneOut.name


def seen_in_training(events: Events) -> NDArray[np.bool_]:
    """Bool [n_items + 1]: items with at least one training event (``warm``)."""
    seen = np.zeros(events.n_items + 1, dtype=np.bool_)
    seen[events.item] = True
    return seen
