"""What stands in the footer of every artifact: where it comes from."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from weft.cells import Cell

PREFIX = "weft."
"""Of every footer key of ours, so that none meets one of Arrow, Polars or pandas."""

LIBRARIES = ("weft", "polars", "pyarrow", "dataframely", "duckdb", "dagster", "numpy", "torch")


class Input(NamedTuple):
    """One artifact that was read, with the content digest it had."""

    asset: str
    cell: str
    digest: str


@cache
def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that shape an artifact; imports none of them."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def footer(
    asset: str,
    cell: Cell,
    provenance: Mapping[str, Any],
    attributes: Mapping[str, str],
    inputs: list[Input],
) -> dict[str, str]:
    """The footer's entries as text; structured values as JSON with sorted keys.

    ``provenance`` usually holds run_id, code_version, config and inputs; ``inputs`` are added to its own.

    Raises:
        ValueError: If an attribute has the name of a provenance entry.
    """
    known = [Input(*given) for given in provenance.get("inputs", [])]
    entries = {
        **provenance,
        "asset": asset,
        "cell": cell.path,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [read._asdict() for read in sorted({*known, *inputs})],
        "versions": library_versions(),
    }
    if clash := sorted(set(entries) & set(attributes)):
        raise ValueError(f"attributes {clash} have the names of provenance entries")
    entries |= attributes
    return {name: value if isinstance(value, str) else _json(value) for name, value in entries.items()}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
