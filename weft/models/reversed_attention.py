"""Soft attention over the clicks of a session that knows how long ago each was, as in GCE-GNN and S²-DHCN.

z_i = tanh(W1 [h_i ; p_{l-i+1}] + b), β_i = q · σ(W2 z_i + W3 h̄ + c), and the state is Σ_i β_i h_i with no softmax. h̄ is
the mean of the clicks' vectors, and p_n belongs to the n-th click from the end (Wang et al. 2020, eq. 11-14; Xia et al.
2021, eq. 5-6).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# Numbers of z held at a time, 32 MB: they are made again in the backward pass.
_HELD = 8_000_000


class ReversedAttention(nn.Module):
    """The attention.

    Args:
        width: Width of the vectors.
        length: Most clicks.
    """

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.positions = nn.Embedding(length, width)
        self.place = nn.Linear(width, width)
        self.click = nn.Linear(width, width, bias=False)
        self.weigh = nn.Linear(width, width)
        self.mean = nn.Linear(width, width, bias=False)
        self.query = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] to the same: the state after every click."""
        batch, time, width = x.shape
        place = torch.arange(time, device=x.device)
        mean = self.mean(x.cumsum(1) / (place[:, None] + 1))
        click, places = self.click(x), self.place(self.positions.weight[:time])
        step = max(_HELD // (batch * time * width), 1)
        parts = [
            checkpoint(self._block, x, click, places, mean[:, start : start + step], start, use_reentrant=False,
                       preserve_rng_state=False)
            for start in range(0, time, step)
        ]  # fmt: skip
        return torch.cat(parts, 1)

    def _block(self, x: Tensor, click: Tensor, places: Tensor, mean: Tensor, start: int) -> Tensor:
        """The states after the clicks that begin at ``start``; what lies behind them all is not computed."""
        end = start + mean.shape[1]
        ago = torch.arange(start, end, device=x.device)[:, None] - torch.arange(end, device=x.device)
        weight = self._weights(click[:, None, :end] + places[ago.clamp(min=0)], mean[:, :, None])
        return weight.masked_fill(ago < 0, 0.0) @ x[:, :end]

    def last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width] to [batch, width]: the state after the first ``lengths`` (int64 [batch], from 1)."""
        ago = lengths[:, None] - 1 - torch.arange(x.shape[1], device=x.device)
        seen = (ago >= 0)[..., None]
        mean = self.mean((x * seen).sum(1) / lengths[:, None])
        places = self.place(self.positions.weight[: x.shape[1]])
        weight = self._weights(self.click(x) + places[ago.clamp(min=0)], mean[:, None])
        return (weight[..., None] * seen * x).sum(1)

    def _weights(self, inner: Tensor, mean: Tensor) -> Tensor:
        return self.query(torch.sigmoid(self.weigh(torch.tanh(inner)) + mean)).squeeze(-1)
