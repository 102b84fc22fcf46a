"""Prefix augmentation: every training session as its (prefix, next item) rows, expanded only when they are asked for.

It comes after the split, and knows the training split alone: no prefix of a held-out session is ever a training row
(LLM4SBR, arXiv:2402.13840, leaves open which comes first). Models that learn all positions at once do not need it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.data.sequences import Events, Queries


@dataclass(frozen=True)
class Prefixes:
    """The rows of all sessions (of all users, where those are not cut into sessions), in the order of the events.

    A session of n events makes n - 1 rows. Held are two numbers per row; histories exist only in what ``take`` gives.

    Attributes:
        events: The training split of one protocol.
        place: int64 [m], where in the events the target of each row stands.
        start: int64 [m], where its session begins.
    """

    events: Events
    place: NDArray[np.int64]
    start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.place)

    def take(self, index: NDArray[np.int64]) -> tuple[Queries, NDArray[np.int32]]:
        """The rows at ``index``: anonymous queries, as a session model is asked in the test, and int32 [b] targets."""
        place, start = self.place[index], self.start[index]
        lengths = place - start
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.repeat(start - offsets[:-1], lengths) + np.arange(offsets[-1])
        time = self.events.timestamp
        queries = Queries(
            query=place,
            user=np.zeros(len(place), dtype=np.int32),
            time=None if time is None else time[place],
            items=self.events.item[source],
            offsets=offsets,
        )
        return queries, self.events.item[place]


def prefixes(events: Events) -> Prefixes:
    """All (prefix, next item) rows of the training split, none of them expanded yet."""
    begins = events.offsets[events.user]
    place = np.arange(len(events), dtype=np.int64)
    inside = place > begins
    return Prefixes(events, place[inside], begins[inside])
