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
    dropped = min(round(rate * 256), 255)
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


class TransformerBlock(nn.Module):
    """Pre-norm transformer block; a position sees itself and what came before, unless told what else.

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
        self.feedforward = self.make_feedforward(width, feedforward, dropout)
        self.dropout = Dropout(dropout)

    @staticmethod
    def make_feedforward(width: int, inner: int, dropout: float) -> nn.Module:
        """The position-wise layer."""
        return nn.Sequential(nn.Linear(width, inner), nn.ReLU(), Dropout(dropout), nn.Linear(inner, width))

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """[batch, time, width] to the same.

        Args:
            x: The positions.
            visible: bool [batch, time], the positions that all may see; None: each what is not after it.
        """
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=-1)
        )
        mask = None if visible is None else visible[:, None, None, :]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.joined(x, self.attention_out(seen.transpose(1, 2).reshape(batch, time, width)))

    def last(self, x: Tensor, position: Tensor) -> Tensor:
        """[batch, time, width] and int64 [batch] to [batch, width]: ``forward`` at one position per row only.

        It sees itself and what came before: all there is, where it is the last. Answers need no other position of the
        last block; of the rest only keys and values are needed there.
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
        return self.joined(x[rows, position], self.attention_out(seen.reshape(batch, width)))

    def joined(self, x: Tensor, attended: Tensor) -> Tensor:
        """Both residual branches put onto ``x``: the attention's, and the feed-forward layer of the sum."""
        x = self.dropout.add(x, attended)
        return self.dropout.add(x, self.feedforward(self.feedforward_norm(x)))


class SwiGLU(nn.Module):
    """Feed-forward layer with a gate: W₃ (silu(W₁ x) ∘ W₂ x) (Shazeer 2020, eq. 6).

    Args:
        width: Width of the vectors.
        inner: Inner width.
        dropout: Dropout on the inner vectors.
    """

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.out, self.dropout = nn.Linear(width, 2 * inner), nn.Linear(inner, width), Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[…, width] to the same."""
        gate, value = self.inner(x).chunk(2, dim=-1)
        return self.out(self.dropout(F.silu(gate) * value))


class LiGRBlock(TransformerBlock):
    """A block whose branches are gated by their own input: x + σ(W x) ∘ branch(norm(x)), with SwiGLU inside.

    LiGR (Borisyuk et al. 2025) as eSASRec takes it over (Tikhonovich et al., RecSys 2025). Arguments are those of the
    plain block.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__(width, heads, feedforward, dropout)
        self.attention_gate, self.feedforward_gate = nn.Linear(width, width), nn.Linear(width, width)

    @staticmethod
    def make_feedforward(width: int, inner: int, dropout: float) -> nn.Module:
        """SwiGLU."""
        return SwiGLU(width, inner, dropout)

    def joined(self, x: Tensor, attended: Tensor) -> Tensor:
        """Both branches, gated."""
        x = self.dropout.add(x, self.attention_gate(x).sigmoid() * attended)
        return self.dropout.add(x, self.feedforward_gate(x).sigmoid() * self.feedforward(self.feedforward_norm(x)))
