"""XSimGCL: LightGCN with noise on every layer, contrasted with one of its own layers (Yu et al., TKDE 2023).

In training every layer adds a small random vector in the node's own orthant (sign(e) times a uniform vector of length
epsilon, as in SimGCL); the mean over layers leaves the free vectors out; and the final vector of a node shall be nearer
to its own after layer l* than to those of the other nodes of the batch (InfoNCE across layers). One noisy pass serves
loss and contrast. To answer, nothing is added. What differs: a node without an edge, as is a user whose labels are all
dislikes, keeps its free vector in every layer; else it would be zero, whatever its labels say.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.models.collaborative import CollaborativeModel
from weft.models.contrasted import ContrastedNetwork
from weft.models.settings import XSimGCLSettings


class XSimGCLNetwork(ContrastedNetwork[XSimGCLSettings]):
    """The network."""

    def layers(self, weight: Tensor) -> list[Tensor]:
        """[nodes, width] each, one per layer, noisy in training; the free vectors are none of them."""
        found, x = [], torch.cat([self.users.weight, self.items.weight])
        kept = x * self.graph.alone
        for _ in range(self.settings.layers):
            x = self.graph(x, weight) + kept
            if self.training:
                x = x + x.sign() * F.normalize(torch.rand_like(x), dim=1) * self.settings.noise
            found.append(x)
        return found

    def forward(self, user: Tensor, item: Tensor, label: Tensor) -> Tensor:
        """LightGCN's loss on the noisy vectors, and their contrast with one of the layers."""
        layers = self.layers(self.weight)
        final, early = self.apart(torch.stack(layers).mean(0)), self.apart(layers[self.settings.contrasted - 1])
        contrast = self.contrast(final, early, user, item, self.settings.temperature)
        return self.loss(*final, user, item, label) + self.settings.contrast * contrast


class XSimGCL(CollaborativeModel[XSimGCLSettings]):
    """The recommender around the network."""

    network = XSimGCLNetwork
