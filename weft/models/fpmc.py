"""FPMC: who somebody is and what they took last, each by factors of its own (Rendle et al., WWW 2010).

The score of an item is ⟨user, item⟩ + ⟨last item, item⟩, with factors for each of the two products (section 4 of the
paper, for baskets of one item); both are one inner product of vectors twice as wide. A user without an event in the
training split has the vector zero: a stranger is judged by the last item alone. An empty history has factors as if it
were an item, learnt from what people begin with. What differs from the paper: full softmax cross-entropy (or another
loss of ``weft/training/losses.py``) in the place of pairwise ranking against one drawn item.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from weft.data.sequences import Events
from weft.models.base import Tensors
from weft.models.history import HistoryModel, HistoryNetwork
from weft.models.layers import Dropout
from weft.models.settings import FPMCSettings
from weft.training import loop
from weft.training.tensor_batches import TensorBatches


class FPMCNetwork(HistoryNetwork[FPMCSettings]):
    """The factors. A query's vector is those of the user beside those of the last item.

    Args:
        settings: Width, of both parts together.
        n_items: Size of the catalogue.
        n_users: Number of users.
    """

    def __init__(self, settings: FPMCSettings, n_items: int, n_users: int) -> None:
        super().__init__(settings, n_items)
        self.users = nn.Embedding(n_users + 1, settings.width // 2, padding_idx=0)
        self.previous = nn.Embedding(n_items + 1, settings.width // 2)
        self.dropout = Dropout(settings.dropout)
        for weight in (self.items.weight[1:], self.users.weight[1:], self.previous.weight):
            nn.init.xavier_normal_(weight)

    def encode(self, inputs: Tensor, lengths: Tensor, user: Tensor | None = None) -> Tensor:
        """[batch, width]: of histories of one item at most, and users int64 [batch]; 0 and beyond are strangers."""
        del lengths
        user = torch.zeros_like(inputs[:, 0]) if user is None else user * (user < len(self.users.weight))
        return self.dropout(torch.cat([self.users(user), self.previous(inputs[:, 0])], 1))

    def scores(self, inputs: Tensor, lengths: Tensor, user: Tensor | None = None) -> Tensor:
        """[batch, n_items + 1]: as for every network, of somebody."""
        return self.encode(inputs, lengths, user) @ self.catalogue().t()

    def pair_scores(
        self, inputs: Tensor, lengths: Tensor, history: Tensor, item: Tensor, user: Tensor | None = None
    ) -> Tensor:
        """[r]: as for every network, of somebody."""
        return (self.encode(inputs, lengths, user)[history] * self.catalogue()[item]).sum(1)

    def forward(self, inputs: Tensor, lengths: Tensor, user: Tensor, target: Tensor) -> Tensor:
        """Mean loss of the next items ``target`` (int64 [batch])."""
        return self.loss(self.encode(inputs, lengths, user), target)


class FPMC(HistoryModel[FPMCSettings]):
    """The recommender around the factors."""

    network = FPMCNetwork
    knows_users = True

    def made_for(self, train: Events) -> FPMCNetwork:
        """Random factors; none for users without an event."""
        module = FPMCNetwork(self.settings, train.n_items, train.n_users)
        unknown = ~np.isin(np.arange(train.n_users + 1), train.user)
        with torch.no_grad():
            module.users.weight[torch.from_numpy(unknown)] = 0
        return module

    def batches(self, train: Events, seed: int) -> loop.Batches:
        """Every step of everybody from one item to the next, the first from none."""
        begins = np.append(True, train.user[1:] != train.user[:-1])
        previous = torch.from_numpy(np.where(begins, 0, np.roll(train.item, 1)).astype(np.int64))
        user, item = (torch.from_numpy(part.astype(np.int64)) for part in (train.user, train.item))
        steps = [previous[:, None], (previous > 0).long(), user, item]
        return TensorBatches(steps, self.settings.batch, seed)

    @classmethod
    def remade(cls, settings: FPMCSettings, tensors: Tensors) -> FPMCNetwork:
        """Factors of the shapes of ``tensors``."""
        return FPMCNetwork(settings, len(tensors["items.weight"]) - 1, len(tensors["users.weight"]) - 1)
