"""Interactions as flat arrays: what models are fitted on and what they are asked.

Item ids are contiguous from 1; 0 is padding and never a real item. Order inside a user is by
(timestamp, source row), stable, everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Events:
    """The training split of one protocol, and nothing else, sorted by (user, timestamp, row).

    Attributes:
        user: int32 [n], 1 to n_users.
        item: int32 [n], 1 to n_items.
        timestamp: int64 [n], seconds since 1970 UTC; None where the source has no times.
        label: float32 [n], 1 or 0, for pointwise protocols; None when an event is positive by existing.
        n_users: Number of users in the data set, trained on or not.
        n_items: Size of the catalogue (rows of ``interactions.items``), trained on or not.
        history: int64 [n, 2], beside labels: each row's history by the protocol's rule for queries, as the first and
            the end of a range of ``positives``; None: all earlier positives of the user.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    timestamp: NDArray[np.int64] | None
    label: NDArray[np.float32] | None
    n_users: int
    n_items: int
    history: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.item)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [n_users + 2]: events of user u are ``offsets[u]:offsets[u + 1]`` (user 0 does not exist)."""
        return np.searchsorted(self.user, np.arange(self.n_users + 2)).astype(np.int64)

    @property
    def positives(self) -> Events:
        """The events that were liked, without labels; all of them where existing is being positive."""
        if self.label is None:
            return self
        liked = self.label > 0
        moments = None if self.timestamp is None else self.timestamp[liked]
        return replace(self, user=self.user[liked], item=self.item[liked], timestamp=moments, label=None, history=None)


@dataclass(frozen=True)
class Queries:
    """Questions put to a model: whose next item, given which history. The answer is not in here.

    Attributes:
        query: int64 [q], the query's id, unique inside a task.
        user: int32 [q], 0 for an anonymous session.
        time: int64 [q], the moment of asking (the target's timestamp); None without times.
        items: int32 [sum of lengths], all histories one after the other, oldest first.
        offsets: int64 [q + 1], history of query i is ``items[offsets[i]:offsets[i + 1]]``.
    """

    query: NDArray[np.int64]
    user: NDArray[np.int32]
    time: NDArray[np.int64] | None
    items: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.query)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [q], number of history items of each query."""
        return np.diff(self.offsets)

    def take(self, index: NDArray[np.int64]) -> Queries:
        """The queries at ``index``, in that order."""
        lengths = self.lengths[index]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.repeat(self.offsets[index] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Queries(
            query=self.query[index],
            user=self.user[index],
            time=None if self.time is None else self.time[index],
            items=self.items[source],
            offsets=offsets,
        )

    def padded(self, length: int) -> NDArray[np.int32]:
        """int32 [q, length]: the last ``length`` items of each history, oldest first, padded with 0 on the right."""
        kept = np.minimum(self.lengths, length)[:, None]
        column = np.arange(length)
        index = np.where(column < kept, self.offsets[1:, None] - kept + column, 0)
        return np.where(column < kept, self.items[index] if len(self.items) else 0, 0).astype(np.int32)


@dataclass(frozen=True)
class Task:
    """One split of a protocol, ready to be scored: the queries, and apart from them the answers.

    Attributes:
        split: ``validation`` or ``test``.
        queries: What a model sees.
        target: int32 [q], the true next item.
        candidates: bool [n_items + 1], which items are ranked at all; entry 0 is False.
        filter_seen: Items of a query's own history are not ranked (the target always is).
        label: bool [q] in pointwise protocols: whether the user liked the target, the judged item. None elsewhere.
        among: int32 [q, c]: the drawn negatives that the target is ranked among, in drawn order, 0 where there were
            fewer. None: among all candidates.
    """

    split: str
    queries: Queries
    target: NDArray[np.int32]
    candidates: NDArray[np.bool_]
    filter_seen: bool
    label: NDArray[np.bool_] | None = None
    among: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.target)
