"""S²-DHCN: self-supervised dual channel hypergraph convolutional networks (Xia et al., AAAI 2021).

Items are vectors smoothed over the hypergraph of all training sessions, the mean of all layers with nothing transformed
in between (eq. 3-4); ``ReversedAttention`` makes a session's state θ_h of them (eq. 5-6), and an item's score is the
inner product of θ_h with its smoothed vector (eq. 7). A second channel sees the sessions of a batch as nodes, tied by
how many items they share, |p ∩ q| / |p ∪ q|: θ_l is the mean over the layers of D⁻¹ (A + I) Θ, which begins with the
means of the items' own vectors (eq. 9). It serves training alone: both channels shall tell the same sessions,
-log σ(θ_h · θ_l) - log σ(-θ̃_h · θ_l), where θ̃_h are the states with rows and columns shuffled (eq. 10).

What differs from the paper, and why: all positions of a session are learnt at once, and the channels meet in the state
after its last click; the contrast is a mean over sessions, so that its weight does not depend on the batch. An empty
history is read as the vector of padding, which labelled pairs teach; no other state sees it.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.data.sequences import Events
from weft.models.base import Tensors
from weft.models.history import CausalNetwork, HistoryModel
from weft.models.hypergraph import Hypergraph
from weft.models.layers import Dropout
from weft.models.reversed_attention import ReversedAttention
from weft.models.settings import DHCNSettings
from weft.training.losses import next_item


class DHCNNetwork(CausalNetwork[DHCNSettings]):
    """The network.

    Args:
        settings: As of every history network.
        n_items: Size of the catalogue.
        graph: The training sessions.
    """

    smoothed: Tensor | None

    def __init__(self, settings: DHCNSettings, n_items: int, graph: Hypergraph) -> None:
        super().__init__(settings, n_items)
        width = settings.width
        self.graph = graph
        self.dropout = Dropout(settings.dropout)
        self.attention = ReversedAttention(width, settings.length)
        self.register_buffer("smoothed", None, persistent=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def train(self, mode: bool = True) -> Self:
        """Weights may have changed."""
        self.smoothed = None
        return super().train(mode)

    def catalogue(self) -> Tensor:
        """[n_items + 1, width]: the smoothed vectors; outside training they are made once."""
        if self.training or torch.is_grad_enabled():
            return self._smooth()
        if self.smoothed is None:
            self.smoothed = self._smooth()
        return self.smoothed

    def _smooth(self) -> Tensor:
        layers = [self.items.weight]
        for _ in range(self.settings.layers):
            layers.append(self.graph(layers[-1]))
        return torch.stack(layers).mean(0)

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position."""
        del lengths
        return self.attention(self.dropout(F.embedding(inputs, self.catalogue())))

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item; only its attention is computed."""
        return self._at_end(inputs, lengths, self.catalogue())

    def pair_scores(self, inputs: Tensor, lengths: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """[r]: as of every history network, with items that are smoothed once."""
        items = self.catalogue()
        return (self._at_end(inputs, lengths, items)[history] * items[item]).sum(1)

    def _at_end(self, inputs: Tensor, lengths: Tensor, items: Tensor) -> Tensor:
        return self.attention.last(self.dropout(F.embedding(inputs, items)), lengths.clamp(min=1))

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over the real positions, and the contrast of the two channels."""
        real, items = targets > 0, self.catalogue()
        states = self.attention(self.dropout(F.embedding(inputs, items)))
        loss = next_item(self.settings, states[real], items[1:], targets[real] - 1)
        each = torch.arange(len(inputs), device=inputs.device)
        return loss + self.settings.contrast * contrast(states[each, real.sum(1) - 1], self.line_states(inputs))

    def line_states(self, inputs: Tensor) -> Tensor:
        """[batch, width]: the sessions of the batch, from the graph of those that share items."""
        item, place = torch.unique(inputs, return_inverse=True)
        holds = self.items.weight.new_zeros(len(inputs), len(item)).scatter_(1, place, 1.0) * (item > 0)
        size, shared = holds.sum(1), holds @ holds.t()
        tied = shared / (size[:, None] + size - shared)  # 1 with itself
        tied = tied / tied.sum(1, keepdim=True)
        layers = [self.items(inputs).sum(1) / (inputs > 0).sum(1, keepdim=True)]
        for _ in range(self.settings.layers):
            layers.append(tied @ layers[-1])
        return torch.stack(layers).mean(0)


def contrast(states: Tensor, lines: Tensor) -> Tensor:
    """The mean over sessions of -log σ(θ_h · θ_l) - log σ(-θ̃_h · θ_l); both are [batch, width]."""
    device = states.device
    shuffled = states[torch.randperm(len(states), device=device)][:, torch.randperm(states.shape[1], device=device)]
    return -(F.logsigmoid((states * lines).sum(1)) + F.logsigmoid(-(shuffled * lines).sum(1))).mean()


class DHCN(HistoryModel[DHCNSettings]):
    """The recommender around the network."""

    network = DHCNNetwork

    def made_for(self, train: Events) -> DHCNNetwork:
        """With the hypergraph of the training sessions; of labelled events, of those that were liked."""
        return DHCNNetwork(self.settings, train.n_items, Hypergraph.of(train.positives))

    @classmethod
    def remade(cls, settings: DHCNSettings, tensors: Tensors) -> DHCNNetwork:
        """With the hypergraph that was saved."""
        graph = {name.removeprefix("graph."): np.array(a) for name, a in tensors.items() if name.startswith("graph.")}
        return DHCNNetwork(settings, len(tensors["items.weight"]) - 1, Hypergraph(graph))
