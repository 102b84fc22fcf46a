"""SGL: LightGCN that keeps a node recognisable when edges go missing (Wu et al., SIGIR 2021).

Beside LightGCN's loss, a contrast of two views of the graph, each with a share of the edges left out (edge dropout,
section 3.1): a user's vector in one view shall be nearer to their own in the other than to other users' (InfoNCE,
section 3.2), and so for items; the sum counts lambda_1 times (section 3.3). What differs: views are drawn for every
batch instead of every epoch, and a node is told apart from the other nodes of the batch, not from all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weft.models.collaborative import CollaborativeModel
from weft.models.contrasted import ContrastedNetwork
from weft.models.settings import SGLSettings


class SGLNetwork(ContrastedNetwork[SGLSettings]):
    """The network."""

    def forward(self, user: Tensor, item: Tensor, label: Tensor) -> Tensor:
        """LightGCN's loss and the contrast of two views."""
        one, other = (self.apart(torch.stack(self.layers(self.some_edges())).mean(0)) for _ in range(2))
        contrast = self.contrast(one, other, user, item, self.settings.temperature)
        return super().forward(user, item, label) + self.settings.contrast * contrast

    def some_edges(self) -> Tensor:
        """Weights of a graph that lacks a share of the edges."""
        kept = torch.rand(self.graph.edges, device=self.weight.device) >= self.settings.edge_dropout
        return self.graph.weights(kept.float())


class SGL(CollaborativeModel[SGLSettings]):
    """The recommender around the network."""

    network = SGLNetwork
