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
        return self.after_each(*self.nodes(inputs))

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item; only its attention is computed."""
        return self.after_all(*self.nodes_at_end(inputs, lengths), lengths)

    def nodes(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors of ``GatedPropagation``, and the clicks of ``GrowingGraph``."""
        graph = GrowingGraph.of(inputs)
        last, later = self.propagate(self.dropout(self.items(inputs)), graph)
        return last, later, graph.clicks

    def after_each(self, last: Tensor, later: Tensor, clicks: Tensor) -> Tensor:
        """[batch, time, width]: the states, from the nodes of every prefix."""
        query = self.query(last)
        itself = self.attention.weigh(torch.sigmoid(query + self.key(last))) * last
        others = self.attention(query, self.key(later), later, clicks.tril(-1))
        overall = torch.addcmul(others, itself, clicks.diagonal(dim1=1, dim2=2)[..., None])
        return self.state(torch.cat([overall, last], 2))

    def nodes_at_end(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the whole history: the vector of the last click [batch, width], those of all, and their clicks.

        All are [batch, time, width] with [batch, time] clicks, which are 0 where the item is clicked again.
        """
        last, later, clicks = self.nodes(inputs)
        each, end = torch.arange(len(inputs), device=inputs.device), (lengths - 1).clamp(min=0)
        final = last[each, end]
        return final, later.index_put((each, end), final), clicks[each, end]

    def after_all(self, final: Tensor, nodes: Tensor, clicks: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state, from the nodes of the whole history."""
        query, kept = self.query(final), lengths.clamp(min=1)
        overall = self.attention.last(query, self.key(nodes), nodes, kept, clicks)
        return self.state(torch.cat([overall, final], 1))


class SRGNN(HistoryModel[SRGNNSettings]):
    """The recommender around the network."""

    network = SRGNNNetwork
