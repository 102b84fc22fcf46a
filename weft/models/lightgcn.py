"""LightGCN: vectors of users and items, smoothed over the graph of who took what (He et al., SIGIR 2020).

A layer gives each node the normalised sum of its neighbours (eq. 3), nothing is transformed in between, and what is
scored is the mean of all layers, the free vectors among them (eq. 4 with alpha = 1 / (K + 1)). The loss is that of
MF-BPR (eq. 15). What differs: decoupled weight decay in the place of an L2 term; where the protocol has labels, edges
are what was liked, and the loss is binary cross-entropy.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from weft.data.sequences import Events
from weft.models.collaborative import CollaborativeModel, CollaborativeNetwork, Head
from weft.models.interaction_graph import InteractionGraph
from weft.models.settings import LightGCNSettings

Chosen = TypeVar("Chosen", bound=LightGCNSettings)


class LightGCNNetwork(CollaborativeNetwork[Chosen]):
    """The network: free vectors and a graph."""

    weight: Tensor

    def __init__(self, settings: Chosen, train: Events, head: Head) -> None:
        super().__init__(settings, train, head)
        self.graph = InteractionGraph(train)
        self.register_buffer("weight", self.graph.weights(), persistent=False)

    def layers(self, weight: Tensor) -> list[Tensor]:
        """[nodes, width] each: the free vectors, then one per layer."""
        found = [torch.cat([self.users.weight, self.items.weight])]
        for _ in range(self.settings.layers):
            found.append(self.graph(found[-1], weight))
        return found

    def vectors(self) -> tuple[Tensor, Tensor]:
        """The means of all layers."""
        return self.apart(torch.stack(self.layers(self.weight)).mean(0))

    def apart(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the users and those of the items."""
        users, items = nodes.split([len(self.users.weight), len(self.items.weight)])
        return users, items


class LightGCN(CollaborativeModel[LightGCNSettings]):
    """The recommender around the network."""

    network = LightGCNNetwork
