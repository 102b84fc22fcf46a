"""NARM: neural attentive recommendation machine (Li et al., CIKM 2017).

A GRU reads the history (eq. 1-4). Its state h_t is the global view; the local one is a sum of all states so far, with
weights q(h_t, h_j) = v · σ(A1 h_t + A2 h_j) (eq. 6-8). Both together, c_t = [c_global ; c_local], meet the items
through a bilinear decoder: score_i = emb_i · B c_t (eq. 9-10).

What differs from the paper, and why: all positions are learnt at once, since h_t and the local view see the past alone;
the GRU is torch's, whose reset gate acts after the product with U, and which has biases, without which an empty history
could learn no state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.models.additive import AdditiveAttention
from weft.models.history import CausalNetwork, HistoryModel
from weft.models.layers import Dropout
from weft.models.settings import NARMSettings


class NARMNetwork(CausalNetwork[NARMSettings]):
    """The network."""

    def __init__(self, settings: NARMSettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        width = settings.width
        self.dropout = Dropout(settings.dropout)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.attention = AdditiveAttention(width)
        self.decoder = nn.Linear(2 * width, width, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and not name.startswith("gru"):
                nn.init.xavier_normal_(parameter)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position."""
        del lengths
        seen, _ = self.gru(self.dropout(self.items(inputs)))
        return self._decoded(seen, self.attention(self.query(seen), self.key(seen), seen))

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item; only its attention is computed."""
        seen, _ = self.gru(self.dropout(self.items(inputs)))
        last = (lengths - 1).clamp(min=0)
        final = seen[torch.arange(len(seen), device=seen.device), last]
        return self._decoded(final, self.attention.last(self.query(final), self.key(seen), seen, last + 1))

    def _decoded(self, overall: Tensor, local: Tensor) -> Tensor:
        return self.decoder(self.dropout(torch.cat([overall, local], -1)))


class NARM(HistoryModel[NARMSettings]):
    """The recommender around the network."""

    network = NARMNetwork
