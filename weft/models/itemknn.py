"""ItemKNN: items that share users with the history (Deshpande & Karypis, TOIS 2004).

With c_ij users who touched both i and j, and c_i who touched i: sim(i, j) = c_ij / (sqrt(c_i c_j) + shrink), eq. 4 of
the paper with the usual shrinkage. A candidate's score is the sum of its similarities to the history, newer items
weighing more; only the most similar neighbours of each candidate count.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import polars as pl
import torch
from scipy import sparse

from weft.data.sequences import Events, Queries, Task
from weft.models.base import Model, Tensors
from weft.models.settings import ItemKNNSettings
from weft.schemas import TrainingHistory
from weft.training.runtime import Runtime

# Rows of the item-item matrix that are dense at a time: 256 x 100,000 items x 4 bytes are 100 MB.
_BLOCK = 256


class ItemKNN(Model[ItemKNNSettings]):
    """Item-to-item neighbours. A query without history, or with unseen items alone, scores 0 everywhere."""

    similarity: sparse.csr_matrix
    """float32 [n_items + 1, n_items + 1], history item by candidate, at most ``neighbours`` entries per candidate."""

    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        """Counts shared users (of positives, where labelled) by sparse products; keeps each item's best neighbours."""
        del validation
        train = train.positives
        shape = (train.n_users + 1, train.n_items + 1)
        touched = sparse.csr_matrix((np.ones(len(train), np.float32), (train.user, train.item)), shape=shape)
        touched.data[:] = 1  # building summed repeat purchases
        by_item = touched.T.tocsr()
        norm = np.sqrt(np.diff(by_item.indptr)).astype(np.float32)
        keep = min(self.settings.neighbours, train.n_items)
        rows: list[sparse.csr_matrix] = []
        with runtime.progress.step("similarities", shape[1], "items") as step:
            for start in range(0, shape[1], _BLOCK):
                shared = (by_item[start : start + _BLOCK] @ touched).toarray()
                block = np.arange(start, start + len(shared))
                shared[np.arange(len(block)), block] = 0
                shared /= np.maximum(norm[block, None] * norm + self.settings.shrink, 1e-9)
                rows.append(_best(shared, keep))
                step.advance(len(block))
        self.similarity = sparse.vstack(rows).T.tocsr()
        return TrainingHistory.create_empty()

    def score(self, queries: Queries) -> torch.Tensor:
        """Recency-weighted history times similarity, as one sparse product."""
        lengths = queries.lengths
        age = np.repeat(queries.offsets[1:], lengths) - 1 - np.arange(len(queries.items))
        weight = np.power(self.settings.recency, age, dtype=np.float64).astype(np.float32)
        shape = (len(queries), self.similarity.shape[0])
        history = sparse.csr_matrix((weight, queries.items, queries.offsets), shape=shape)
        scores = torch.from_numpy((history @ self.similarity).toarray())
        scores[:, 0] = -torch.inf
        return scores

    def tensors(self) -> Tensors:
        """The three arrays of the compressed sparse rows of ``similarity``."""
        return {
            "offsets": self.similarity.indptr.astype(np.int64),
            "candidate": self.similarity.indices.astype(np.int32),
            "similarity": self.similarity.data,
        }

    @classmethod
    def load(cls, settings: ItemKNNSettings, tensors: Tensors) -> Self:
        """From compressed sparse rows."""
        model = cls(settings)
        size = len(tensors["offsets"]) - 1
        parts = (tensors["similarity"], tensors["candidate"], tensors["offsets"])
        model.similarity = sparse.csr_matrix(parts, shape=(size, size))
        return model


def _best(rows: np.ndarray, keep: int) -> sparse.csr_matrix:
    """The ``keep`` largest positive entries of each row."""
    values, columns = torch.topk(torch.from_numpy(rows), keep, dim=1)
    positive = values.numpy() > 0
    offsets = np.concatenate([[0], np.cumsum(positive.sum(1))])
    best = sparse.csr_matrix((values.numpy()[positive], columns.numpy()[positive], offsets), shape=rows.shape)
    best.sort_indices()
    return best
