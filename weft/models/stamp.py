"""STAMP: short-term attention and memory priority (Liu et al., KDD 2018).

The memory of a history is the mean of its item vectors, m_s (eq. 2). Each item weighs
α_i = W0 σ(W1 x_i + W2 x_t + W3 m_s + b_a), with x_t the last item (eq. 7), and the attended memory is m_a = Σ α_i x_i
(eq. 8). With h_s = tanh(W_s m_a + b_s) and h_t = tanh(W_t x_t + b_t) (eq. 3), an item's score is the trilinear product
⟨h_s, h_t, x_i⟩ (eq. 1 and 4): the state is h_s ∘ h_t.

What differs from the paper, and why: m_s is added to m_a, as in the code of its authors; the softmax takes the scores
themselves, since over their sigmoids it could never become sure; all positions are learnt at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.models.additive import AdditiveAttention
from weft.models.history import CausalNetwork, HistoryModel
from weft.models.layers import Dropout
from weft.models.settings import STAMPSettings


class STAMPNetwork(CausalNetwork[STAMPSettings]):
    """The network."""

    def __init__(self, settings: STAMPSettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        width = settings.width
        self.dropout = Dropout(settings.dropout)
        self.key = nn.Linear(width, width, bias=False)
        self.of_last = nn.Linear(width, width)
        self.of_memory = nn.Linear(width, width, bias=False)
        self.attention = AdditiveAttention(width)
        self.general = nn.Linear(width, width)
        self.current = nn.Linear(width, width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position."""
        del lengths
        x = self.dropout(self.items(inputs))
        place = torch.arange(1, inputs.shape[1] + 1, device=x.device)
        memory = x.cumsum(1) / place[:, None]
        return self._state(x, memory, self.attention(self._query(x, memory), self.key(x), x))

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item; only its attention is computed."""
        x = self.dropout(self.items(inputs))
        kept = lengths.clamp(min=1)
        last = x[torch.arange(len(x), device=x.device), kept - 1]
        memory = x.sum(1) / kept[:, None]  # padding is a row of zeros
        return self._state(last, memory, self.attention.last(self._query(last, memory), self.key(x), x, kept))

    def _query(self, last: Tensor, memory: Tensor) -> Tensor:
        return self.of_last(last) + self.of_memory(memory)

    def _state(self, last: Tensor, memory: Tensor, attended: Tensor) -> Tensor:
        return torch.tanh(self.general(attended + memory)) * torch.tanh(self.current(last))


class STAMP(HistoryModel[STAMPSettings]):
    """The recommender around the network."""

    network = STAMPNetwork
