"""SKNN and V-SKNN: what the training sessions held that look like this one.

SKNN (Jannach & Ludewig, RecSys 2017, section 3): of the most recent training sessions that share an item with the
history s, the nearest by the cosine of item sets, sim(s, n) = |s ∩ n| / sqrt(|s| |n|), vote for their items: the score
of item i is Σ_n sim(s, n) [i ∈ n]. V-SKNN (Ludewig & Jannach, UMUAI 2018, section 4) makes a vector of the history,
with a weight w_i that falls linearly from 1 for the newest item, and compares it with the sets of the sessions. Rare
items are raised by their inverse document frequency, as later versions of its authors' code do.

What differs, and why: V-SKNN takes the cosine, Σ_{i ∈ s ∩ n} w_i / (|w| sqrt(|n|)). The dot product of the paper makes
long sessions everybody's neighbours: on users of MovieLens-1M it stood 44 % lower in validation NDCG@10.

Where users take the place of sessions, somebody's own training history is no neighbour of theirs: it only names what
they have had, and for a query that lies before its end it would name the future. Anonymous queries have none.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Self, TypeVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy import sparse

from weft.data.sequences import Events, Queries, Task
from weft.models.base import Model, Tensors
from weft.models.settings import SKNNSettings, VSKNNSettings
from weft.schemas import TrainingHistory
from weft.training.runtime import Runtime

Chosen = TypeVar("Chosen", bound=SKNNSettings)

# Queries compared at a time: where each shares an item with 50,000 sessions, 128 have 6.4 million pairs, 150 MB.
_QUERIES = 128


class Neighbours(Model[Chosen]):
    """Votes of sessions like the history. A query without history, or with unseen items alone, scores 0 everywhere."""

    sessions: sparse.csr_matrix
    """float32 [sessions, n_items + 1], 1 where an item is in a session; the session that ended last comes last."""
    user: NDArray[np.int32]
    """int32 [sessions], whose each session is: the user, or in a session protocol its own number."""

    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        """Files the sessions (of positives, where labelled) by the time of their last event, else as they come."""
        del validation, runtime
        train = train.positives
        last = np.flatnonzero(np.append(train.user[1:] != train.user[:-1], True)[: len(train)])
        session = np.searchsorted(last, np.arange(len(train)))
        shape = (len(last), train.n_items + 1)
        sessions = sparse.csr_matrix((np.ones(len(train), np.float32), (session, train.item)), shape=shape)
        sessions.data[:] = 1  # building summed repeated items
        order = np.arange(len(last)) if train.timestamp is None else np.argsort(train.timestamp[last], kind="stable")
        self._file(sessions[order], train.user[last][order])
        return TrainingHistory.create_empty()

    def _file(self, sessions: sparse.csr_matrix, user: NDArray[np.int32]) -> None:
        self.sessions, self.user = sessions, user
        self._by_item = sessions.T.tocsr()
        self._size = np.diff(sessions.indptr)

    @abstractmethod
    def _weight(self, age: NDArray[np.int64]) -> NDArray[np.float64]:
        """What an item of the history counts, at least 0, by how many events are newer."""

    def _factor(self) -> NDArray[np.float32] | float:
        """What the votes for each item are multiplied with."""
        return 1.0

    def score(self, queries: Queries) -> torch.Tensor:
        """The votes of the nearest sessions, a hundred queries at a time."""
        scores = np.empty((len(queries), self.sessions.shape[1]), np.float32)
        for start in range(0, len(queries), _QUERIES):
            rows = np.arange(start, min(start + _QUERIES, len(queries)))
            scores[rows] = (self._nearest(queries.take(rows)) @ self.sessions).toarray() * self._factor()
        scores[:, 0] = -np.inf
        return torch.from_numpy(scores)

    def _nearest(self, queries: Queries) -> sparse.csr_matrix:
        """float32 [q, sessions]: the similarity of each query's neighbours, 0 elsewhere."""
        shared = self._history(queries) @ self._by_item
        shared.sort_indices()
        row = np.repeat(np.arange(len(queries)), np.diff(shared.indptr))
        foreign = self.user[shared.indices] != queries.user[row]
        row, session, similarity = row[foreign], shared.indices[foreign], shared.data[foreign]
        recent = _of_each(row[::-1], self.settings.sample)[::-1]
        row, session, similarity = row[recent], session[recent], similarity[recent]
        similarity = similarity / np.sqrt(self._size[session])
        order = np.lexsort((-session, -similarity, row))
        order = order[_of_each(row[order], self.settings.neighbours)]
        found = (similarity[order].astype(np.float32), (row[order], session[order]))
        return sparse.csr_matrix(found, shape=shared.shape)

    def _history(self, queries: Queries) -> sparse.csr_matrix:
        """[q, n_items + 1], rows of length 1: the weight of each item, by its newest occurrence."""
        lengths = queries.lengths
        row = np.repeat(np.arange(len(queries)), lengths)
        age = np.repeat(queries.offsets[1:], lengths) - 1 - np.arange(len(queries.items))
        shape = (len(queries), self.sessions.shape[1])
        _, newest = np.unique((row * shape[1] + queries.items)[::-1], return_index=True)
        newest = len(row) - 1 - newest
        row, item, weight = row[newest], queries.items[newest], self._weight(age[newest])
        norm = np.sqrt(np.bincount(row, weight**2, len(queries)))
        counts = weight > 0
        return sparse.csr_matrix(((weight / norm[row])[counts], (row[counts], item[counts])), shape=shape)

    def tensors(self) -> Tensors:
        """The sessions as compressed sparse rows, and whose they are."""
        return {
            "offsets": self.sessions.indptr.astype(np.int64),
            "item": self.sessions.indices.astype(np.int32),
            "user": self.user,
            "n_items": np.array([self.sessions.shape[1] - 1], np.int64),
        }

    @classmethod
    def load(cls, settings: Chosen, tensors: Tensors) -> Self:
        """From compressed sparse rows."""
        model = cls(settings)
        item, shape = tensors["item"], (len(tensors["user"]), int(tensors["n_items"][0]) + 1)
        parts = (np.ones(len(item), np.float32), item, tensors["offsets"])
        model._file(sparse.csr_matrix(parts, shape=shape), np.asarray(tensors["user"], np.int32))
        return model


class SKNN(Neighbours[SKNNSettings]):
    """Sets of items, in whatever order."""

    def _weight(self, age: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.ones(len(age))


class VSKNN(Neighbours[VSKNNSettings]):
    """Newer items count more, and rarer items are recommended sooner."""

    def _weight(self, age: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.maximum(1 - age / self.settings.reach, 0)

    def _factor(self) -> NDArray[np.float32]:
        held_by = np.maximum(np.diff(self._by_item.indptr), 1)
        return (1 + self.settings.idf * np.log(len(self.user) / held_by)).astype(np.float32)


def _of_each(row: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Of rows that stand together, which entries are among the first ``most`` of theirs."""
    begins = np.append(True, row[1:] != row[:-1])[: len(row)]
    first = np.maximum.accumulate(np.where(begins, np.arange(len(row)), 0))
    return np.arange(len(row)) - first < most
