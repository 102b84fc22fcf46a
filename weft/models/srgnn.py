"""SR-GNN: session-based recommendation with graph neural networks (Wu et al., AAAI 2019).

A gated step of propagation over the session's graph gives a vector per clicked item (eq. 1-5). The state is
s = W3 [s_g ; s_l]: s_l is the vector of the last click, and s_g the sum over all clicks i of α_i v_i with
α_i = q · σ(W1 v_last + W2 v_i + c), no softmax (eq. 6-7). An item's score is the inner product of s with its vector.

What differs from the paper, and why: one step of propagation only, the usual setting: all prefixes of a session are
learnt at once then (``weft/models/session_graph.py``); dropout on the items, without which it overfits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.models.additive import AdditiveAttention
from weft.models.history import CausalNetwork, HistoryModel
from weft.models.layers import Dropout
from weft.models.session_graph import GatedPropagation, GrowingGraph
from weft.models.settings import SRGNNSettings


class SRGNNNetwork(CausalNetwork[SRGNNSettings]):
    """The network."""

    def __init__(self, settings: SRGNNSettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        width = settings.width
        self.dropout = Dropout(settings.dropout)
        self.propagate = GatedPropagation(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.attention = AdditiveAttention(width)
        self.state = nn.Linear(2 * width, width)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position."""
        del lengths
        graph = GrowingGraph.of(inputs)
        last, later = self.propagate(self.dropout(self.items(inputs)), graph)
        query, counts = self.query(last), graph.clicks
        itself = self.attention.weigh(torch.sigmoid(query + self.key(last))) * last
        others = self.attention(query, self.key(later), later, counts.tril(-1))
        overall = torch.addcmul(others, itself, counts.diagonal(dim1=1, dim2=2)[..., None])
        return self.state(torch.cat([overall, last], 2))

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item; only its attention is computed."""
        graph = GrowingGraph.of(inputs)
        last, later = self.propagate(self.dropout(self.items(inputs)), graph)
        each, end = torch.arange(len(inputs), device=inputs.device), (lengths - 1).clamp(min=0)
        final = last[each, end]
        nodes = later.index_put((each, end), final)
        counts = graph.clicks[each, end]
        overall = self.attention.last(self.query(final), self.key(nodes), nodes, end + 1, counts)
        return self.state(torch.cat([overall, final], 1))


class SRGNN(HistoryModel[SRGNNSettings]):
    """The recommender around the network."""

    network = SRGNNNetwork
