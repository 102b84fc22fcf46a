"""CORE: a state that is a mixture of the very vectors that items are recommended by (Hou et al., SIGIR 2022).

A causal transformer reads the history, but only decides how much each item counts: the state after a position is the
weighted mean of the item vectors up to it (the paper's representation-consistent encoder, CORE-trm), so that states and
items lie in one space. There a score is a cosine over a temperature, with dropout on the item vectors of both sides
(its robust distance). What differs from the paper: all positions of a history are learnt at once, since no weight
sees what comes later; blocks are pre-norm; places are counted back from the newest event, unless told else; an empty
history is read as one vector, which labelled pairs teach; where all histories have an item, it stays as drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.models.history import CausalNetwork, HistoryModel
from weft.models.layers import Dropout
from weft.models.settings import CORESettings
from weft.models.transformer import TransformerNetwork


class CORENetwork(TransformerNetwork[CORESettings], CausalNetwork[CORESettings]):
    """The network."""

    def __init__(self, settings: CORESettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        self.item_dropout = Dropout(settings.item_dropout)
        self.weight = nn.Linear(settings.width, 1, bias=False)
        self.nothing = nn.Parameter(torch.randn(settings.width) / settings.width)

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position, of length 1 / temperature."""
        vectors = self.item_dropout(torch.where(lengths[:, None, None] > 0, self.items(inputs), self.nothing))
        logits = self.weight(self.through(self.placed(vectors, lengths)))
        time = inputs.shape[1]
        later = torch.ones(time, time, dtype=torch.bool, device=inputs.device).triu(1)
        weights = logits.transpose(1, 2).expand(-1, time, -1).masked_fill(later, float("-inf")).softmax(2)
        return F.normalize(weights @ vectors, dim=2) / self.settings.temperature

    def catalogue(self) -> Tensor:
        """[n_items + 1, width]: item vectors of length 1."""
        return F.normalize(self.item_dropout(self.items.weight), dim=1)


class CORE(HistoryModel[CORESettings]):
    """The recommender around the network."""

    network = CORENetwork
