"""Layers that several sequence models share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


def _mask(shape: torch.Size, rate: float) -> Tensor:
    """A float mask on the CPU: 0 with probability ``rate`` (rounded to 1/256), else what keeps the mean.

    torch draws one Bernoulli number per element on a single CPU thread: 21 ms for 128 x 200 x 64, a tenth of a
    training step. Eight bytes of each 64-bit draw make it about 1 ms.
    """
    dropped = round(rate * 256)
    words = torch.empty((shape.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), 2**63 - 1)
    keep = words.view(torch.uint8)[: shape.numel()].view(shape) >= dropped
    return keep.to(torch.float32).mul_(256.0 / (256 - dropped))


class _MaskedAdd(torch.autograd.Function):
    """``x + mask * y`` in one pass over memory; the mask has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(mask)
        return torch.addcmul(x, y, mask)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (mask,) = ctx.saved_tensors
        return grads[0], grads[0] * mask, None


class Dropout(nn.Module):
    """Inverted dropout; fast on the CPU (rate rounded to 1/256), torch's own elsewhere.

    Args:
        rate: Share of elements set to zero while training.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if not self.training or self.rate == 0:
            return x
        return x * _mask(x.shape, self.rate) if x.device.type == "cpu" else F.dropout(x, self.rate)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """``x + dropout(y)``: the end of a residual branch."""
        if not self.training or self.rate == 0 or x.device.type != "cpu":
            return x + self(y)
        return _MaskedAdd.apply(x, y, _mask(y.shape, self.rate))


class CausalBlock(nn.Module):
    """Pre-norm transformer block in which a position sees itself and what came before.

    Args:
        width: Width of the vectors.
        heads: Attention heads.
        feedforward: Inner width of the feed-forward layer.
        dropout: Dropout on both branches.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.ReLU(), Dropout(dropout), nn.Linear(feedforward, width)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, width] to the same."""
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = self.dropout.add(x, self.attention_out(seen.transpose(1, 2).reshape(batch, time, width)))
        return self.dropout.add(x, self.feedforward(self.feedforward_norm(x)))

    def last(self, x: Tensor, position: Tensor) -> Tensor:
        """[batch, time, width] and int64 [batch] to [batch, width]: ``forward`` at one position per row only.

        Answers need the last position of the last block; there only keys and values are needed of all positions.
        """
        batch, time, width = x.shape
        normed = self.attention_norm(x)
        rows = torch.arange(batch, device=x.device)
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(normed[rows, position], weight[:width], bias[:width]).view(batch, self.heads, 1, -1)
        kv = F.linear(normed, weight[width:], bias[width:]).view(batch, time, 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        visible = torch.arange(time, device=x.device) <= position[:, None]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=visible[:, None, None, :])
        y = self.dropout.add(x[rows, position], self.attention_out(seen.reshape(batch, width)))
        return self.dropout.add(y, self.feedforward(self.feedforward_norm(y)))
