"""GCE-GNN: global context enhanced graph neural networks (Wang et al., SIGIR 2020).

An item of a session has two vectors, which are added (eq. 10). The one from the session's graph is attention over its
neighbours j, softmax of LeakyReLU(a_r · (h_i ∘ h_j)) with a vector a_r for each relation: itself, before, after, both
(eq. 6-9). The other one is from the graph of all training sessions: each item that often stood within a few clicks
weighs π_ij, softmax of q · LeakyReLU(W1 [s ∘ h_j ; w_ij]) with the mean s of this session, and relu(W2 [h_i ; Σ π h_j])
is taken (eq. 1-5, one hop). ``ReversedAttention`` makes the state of all (eq. 11-14).

What differs from the paper, and why: a neighbour's weight w_ij is the logarithm of 1 + its count, since counts of a
large data set would drown the vectors; an item without neighbours takes part in no softmax over padding.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.data.sequences import Events
from weft.models.history import PrefixModel, PrefixNetwork
from weft.models.layers import Dropout
from weft.models.reversed_attention import ReversedAttention
from weft.models.session_graph import relations
from weft.models.settings import GCEGNNSettings

_SLOPE = 0.2


def global_graph(train: Events, window: int, kept: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The items that most often stood within ``window`` clicks of each item in the training sessions.

    Returns:
        int64 [n_items + 1, kept], most often first and 0 beyond, and the logarithm of 1 + how often, float32.
    """
    item, size = train.item.astype(np.int64), train.n_items + 1
    pairs = [
        np.column_stack([item[:-apart], item[apart:]])[train.user[:-apart] == train.user[apart:]]
        for apart in range(1, window + 1)
    ]
    one, other = np.concatenate(pairs).T
    counts = sparse.coo_array((np.ones(len(one)), (one, other)), shape=(size, size)).tocsr()
    counts = (counts + counts.T).tocoo()
    row, column, count = (array[counts.row != counts.col] for array in (counts.row, counts.col, counts.data))
    order = np.lexsort((column, -count, row))
    row, column, count = row[order], column[order], count[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    near = rank < kept
    neighbours, weights = np.zeros((size, kept), np.int64), np.zeros((size, kept), np.float32)
    neighbours[row[near], rank[near]] = column[near]
    weights[row[near], rank[near]] = np.log1p(count[near])
    return neighbours, weights


class GCEGNNNetwork(PrefixNetwork[GCEGNNSettings]):
    """The network."""

    neighbours: Tensor
    weights: Tensor

    def __init__(self, settings: GCEGNNSettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        width, size = settings.width, (n_items + 1, settings.neighbours)
        self.register_buffer("neighbours", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(size))
        self.dropout, self.global_dropout = Dropout(settings.dropout), Dropout(settings.global_dropout)
        self.relation = nn.Parameter(torch.empty(4, width))
        self.near = nn.Linear(width + 1, width, bias=False)
        self.near_query = nn.Linear(width, 1, bias=False)
        self.joined = nn.Linear(2 * width, width)
        self.attention = ReversedAttention(width, settings.length)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item."""
        x, kept = self.dropout(self.items(inputs)), lengths.clamp(min=1)
        real = (torch.arange(inputs.shape[1], device=x.device) < kept[:, None])[..., None]
        mean = (x * real).sum(1) / kept[:, None]
        both = self.in_session(x, inputs) + self.global_dropout(self.in_all(x, inputs, mean))
        return self.attention.last(both, kept)

    def in_session(self, x: Tensor, inputs: Tensor) -> Tensor:
        """[batch, time, width]: each click's item, from the session's graph."""
        relation = relations(inputs)
        by_relation = (x[:, None] * self.relation[:, None]) @ x[:, None].mT  # [batch, relation, time, time]
        logits = by_relation.gather(1, (relation - 1).clamp(min=0)[:, None])[:, 0]
        logits = F.leaky_relu(logits, _SLOPE).masked_fill(relation == 0, float("-inf"))
        return logits.softmax(2) @ x

    def in_all(self, x: Tensor, inputs: Tensor, mean: Tensor) -> Tensor:
        """[batch, time, width]: each click's item, from the graph of all training sessions."""
        near = self.neighbours[inputs]
        vectors, weights = self.items(near), self.weights[inputs][..., None]
        alike = self.near(torch.cat([vectors * mean[:, None, None], weights], 3))
        logits = self.near_query(F.leaky_relu(alike, _SLOPE)).squeeze(-1)
        logits = logits.masked_fill(near == 0, torch.finfo(logits.dtype).min)
        around = (logits.softmax(2)[:, :, None] @ vectors).squeeze(2)  # rows of padding are zero
        return F.relu(self.joined(torch.cat([x, around], 2)))


class GCEGNN(PrefixModel[GCEGNNSettings]):
    """The recommender around the network."""

    network = GCEGNNNetwork

    def made_for(self, train: Events) -> GCEGNNNetwork:
        """With the graph of the training sessions; of labelled events, of those that were liked."""
        network = GCEGNNNetwork(self.settings, train.n_items)
        neighbours, weights = global_graph(train.positives, self.settings.window, self.settings.neighbours)
        network.neighbours.copy_(torch.from_numpy(neighbours))
        network.weights.copy_(torch.from_numpy(weights))
        return network
