"""Which prompts are read together: those that begin alike, and those of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_LEAST_SHARED = 8  # a shorter common prefix is not worth a pass of its own


@dataclass(frozen=True)
class Group:
    """Prompts that begin alike: the places of its prompts, and how many tokens they share."""

    rows: list[int]
    shared: int


@dataclass
class _Branch:
    """Prompts that begin with the same ``depth`` tokens, and the best grouping found among them."""

    depth: float
    rows: list[int]
    groups: list[Group]
    saved: int = 0

    def close(self) -> None:
        """Makes one group of all where that saves no fewer tokens than the groups within."""
        whole = (len(self.rows) - 1) * int(self.depth) if _LEAST_SHARED <= self.depth < np.inf else 0
        if whole and whole >= self.saved:
            self.groups, self.saved = [Group(self.rows, int(self.depth))], whole


def group(prompts: Sequence[Sequence[int]]) -> list[Group]:
    """Puts prompts together where reading a shared prefix once saves most tokens.

    In sorted order the prompts are the leaves of a tree whose inner nodes are common prefixes. From the leaves up, a
    node becomes one group if that saves as many tokens, (members - 1) × prefix, as its children do. At least one token
    of each prompt is left unshared, since its logits are wanted.
    """
    order = sorted(range(len(prompts)), key=lambda row: list(prompts[row]))
    path: list[_Branch] = []
    for place, row in enumerate(order):
        _fold(path, _common(prompts[order[place - 1]], prompts[row]) if place else 0)
        path.append(_Branch(np.inf, [row], [Group([row], 0)]))
    _fold(path, 0)
    return path[0].groups if path else []


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix that leaves both at least one token."""
    most = min(len(a), len(b)) - 1
    return next((place for place in range(most) if a[place] != b[place]), most)


def _fold(path: list[_Branch], depth: int) -> None:
    """Closes what is deeper than ``depth`` and hands it to its parent, which is made where it is missing."""
    while path and path[-1].depth > depth:
        branch = path.pop()
        branch.close()
        if path and path[-1].depth >= depth:
            parent = path[-1]
            parent.rows += branch.rows
            parent.groups += branch.groups
            parent.saved += branch.saved
        else:
            path.append(_Branch(depth, list(branch.rows), list(branch.groups), branch.saved))


def batches(groups: Sequence[Group], lengths: Sequence[int], budget: int) -> Iterator[list[Group]]:
    """Groups of like lengths, longest first, at most ``budget`` padded tokens together; a large group is divided.

    Groups with a shared prefix and prompts without one never share a batch.
    """
    divided: list[Group] = []
    for whole in groups:
        most = max(1, budget // max(lengths[row] for row in whole.rows))
        divided += [Group(whole.rows[k : k + most], whole.shared) for k in range(0, len(whole.rows), most)]
    shape = {id(part): (part.shared, max(lengths[row] for row in part.rows) - part.shared) for part in divided}
    divided.sort(key=lambda part: (part.shared > 0, *shape[id(part)]), reverse=True)
    batch: list[Group] = []
    for part in divided:
        wider = [*batch, part]
        width = max(shape[id(one)][0] for one in wider) + max(shape[id(one)][1] for one in wider)
        full = width * sum(len(one.rows) for one in wider) > budget
        if batch and (full or (part.shared > 0) != (batch[0].shared > 0)):
            yield batch
            wider = [part]
        batch = wider
    if batch:
        yield batch


def by_length(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Places of like lengths, longest first, in batches of at most ``budget`` padded tokens, or of one."""
    for batch in batches([Group([place], 0) for place in range(len(lengths))], lengths, budget):
        yield [part.rows[0] for part in batch]
