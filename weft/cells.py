"""A cell: the coordinates of one leaf of an artifact, and the folder that they name.

What depends on data alone has one leaf per data set; splits have one per protocol; everything fitted, scored
or measured has one per (dataset, protocol, profile, variant, seed). Each leaf is replaced on its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

from weft.errors import RequestError

KEY_PATTERN = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,63}$")
"""Allowed partition keys and cell values. ``..`` is refused besides: a key is a folder name."""


def is_key(key: str) -> bool:
    """Whether ``key`` may name a folder."""
    return KEY_PATTERN.fullmatch(key) is not None and ".." not in key


def check_key(key: str, what: str = "partition key") -> str:
    """Returns ``key`` if it may name a folder.

    Raises:
        RequestError: If it is not on the allow-list (a path separator, ``..``, capitals, over 64 characters).
    """
    if not is_key(key):
        raise RequestError(
            f"{what} {key!r} is not allowed",
            "use 1 to 64 of a-z, 0-9, '-', '_' and '.', starting with a letter or digit, without '..'",
        )
    return key


@dataclass(frozen=True, order=True)
class Cell:
    """Coordinates of one leaf. Trailing coordinates that do not apply are None."""

    dataset: str
    protocol: str | None = None
    profile: str | None = None
    variant: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.parts():
            check_key(value, name)

    def parts(self) -> list[tuple[str, str]]:
        """The coordinates that apply, in path order, as text."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [(name, str(value)) for name, value in pairs if value is not None]

    @property
    def path(self) -> str:
        """The hive folder, for example ``dataset=ml-1m/protocol=leave_one_out``."""
        return "/".join(f"{name}={value}" for name, value in self.parts())

    @classmethod
    def parse(cls, path: str) -> Cell:
        """The cell of a path that contains a hive folder; other parts of the path are ignored."""
        known = {field.name for field in fields(cls)}
        found = dict(part.split("=", 1) for part in path.replace("\\", "/").split("/") if "=" in part)
        values = {name: value for name, value in found.items() if name in known}
        if "dataset" not in values:
            raise RequestError(f"path {path!r} names no data set")
        seed = values.pop("seed", None)
        return cls(**values, seed=None if seed is None else int(seed))  # type: ignore[arg-type]

    def agrees(self, other: Cell) -> bool:
        """Whether no coordinate but the data set contradicts: each is equal, or does not apply to one of the two."""
        mine, theirs = dict(self.parts()), dict(other.parts())
        return all(mine[name] == theirs[name] for name in (mine.keys() & theirs.keys()) - {"dataset"})

    def of_dataset(self) -> Cell:
        """The leaf that depends on data alone."""
        return Cell(self.dataset)

    def of_protocol(self) -> Cell:
        """The leaf of this cell's protocol (splits, negatives)."""
        return Cell(self.dataset, self.protocol)

    def with_seed(self, seed: int) -> Cell:
        """The same cell with another seed."""
        return replace(self, seed=seed)
