"""Additive attention whose weights are no probabilities, as NARM and STAMP use it.

The weight of an earlier item is v · σ(query + key): any number, and no softmax makes a history's weights sum to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# Numbers of σ(query + key) held at a time, 32 MB: they are made again in the backward pass.
_HELD = 8_000_000


class AdditiveAttention(nn.Module):
    """Sum over the items j that are seen of (v · σ(query + key_j)) value_j.

    Args:
        width: Width of queries, keys and values.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, 1, bias=False)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, counts: Tensor | None = None) -> Tensor:
        """[batch, time, width] each, to the same: a position sees itself and what came before.

        ``counts``, float [batch, time, time], says how often a position (its row) sees each; without it once.
        """
        batch, time, width = query.shape
        step = max(_HELD // (batch * time * width), 1)
        parts = [
            checkpoint(
                self._block, query[:, start : start + step], key, value, start,
                None if counts is None else counts[:, start : start + step], use_reentrant=False,
                preserve_rng_state=False,
            )
            for start in range(0, time, step)
        ]  # fmt: skip
        return torch.cat(parts, 1)

    def _block(self, query: Tensor, key: Tensor, value: Tensor, start: int, counts: Tensor | None) -> Tensor:
        """The same for queries that begin at position ``start``; what lies behind them all is not computed."""
        end = start + query.shape[1]
        weight = self.weigh(torch.sigmoid(query[:, :, None] + key[:, None, :end])).squeeze(-1)
        if counts is not None:
            weight = weight * counts[:, :, :end]
        return weight.tril(start) @ value[:, :end]

    def last(self, query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, counts: Tensor | None = None) -> Tensor:
        """[batch, width] for one query per history, [batch, width], that sees its first ``lengths`` (int64) items.

        ``counts``, float [batch, time], says how often it sees each.
        """
        real = torch.arange(key.shape[1], device=key.device) < lengths[:, None]
        weight = self.weigh(torch.sigmoid(query[:, None] + key)).squeeze(-1) * real
        if counts is not None:
            weight = weight * counts
        return (weight[:, None] @ value).squeeze(1)
