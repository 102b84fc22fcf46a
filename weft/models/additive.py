"""Additive attention whose weights are no probabilities, as NARM and STAMP use it.

The weight of an earlier item is v · σ(query + key): any number, and no softmax makes a history's weights sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# Numbers of σ(query + key) held at a time, and the queries among them. On a CPU they should stay in the cache: with
# width 64, 128 histories of 18 or 48 items take a third of the time of one pass over all. They are made again in the
# backward pass.
_CPU_HELD, _GPU_HELD = 2**17, 2**23
_QUERIES = 8


class _Weights(torch.autograd.Function):
    """v · σ(query_k + key_j) for all j ≤ k, float [batch, time, time]; never held is [batch, time, time, width]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, weigh: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(query, key, weigh)
        made = query.new_zeros(*query.shape[:2], query.shape[1])
        for part, seen in _parts(query):
            made[*part, seen] = _inner(query, key, part, seen) @ weigh.to(query.dtype)
        return made.tril_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, weigh = ctx.saved_tensors
        grad = grads[0].tril()
        of_query, of_key, of_weigh = (torch.zeros_like(given) for given in (query, key, weigh))
        for part, seen in _parts(query):
            inner, given = _inner(query, key, part, seen), grad[*part, seen]
            of_weigh += given.reshape(-1) @ inner.flatten(0, 2)
            slope = inner.addcmul_(inner, inner, value=-1).mul_(given[..., None])  # σ' = σ - σ²
            of_query[part] += slope.sum(2)
            of_key[part[0], seen] += slope.sum(1)
        return of_query * weigh, of_key * weigh, of_weigh


def _parts(query: Tensor) -> Iterator[tuple[tuple[slice, slice], slice]]:
    """(Histories, queries) and the keys that these see, in parts; what lies behind a part is not computed."""
    batch, time, width = query.shape
    held = _GPU_HELD if query.is_cuda else _CPU_HELD
    for start in range(0, time, _QUERIES):
        end = min(start + _QUERIES, time)
        step = max(held // ((end - start) * end * width), 1)
        for row in range(0, batch, step):
            yield (slice(row, row + step), slice(start, end)), slice(0, end)


def _inner(query: Tensor, key: Tensor, part: tuple[slice, slice], seen: slice) -> Tensor:
    return (query[part][:, :, None] + key[part[0], None, seen]).sigmoid_()


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
        weight = _Weights.apply(query, key, self.weigh.weight[0])
        return (weight if counts is None else weight * counts) @ value

    def last(self, query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, counts: Tensor | None = None) -> Tensor:
        """[batch, width] for one query per history, [batch, width], that sees its first ``lengths`` (int64) items.

        ``counts``, float [batch, time], says how often it sees each.
        """
        real = torch.arange(key.shape[1], device=key.device) < lengths[:, None]
        weight = self.weigh(torch.sigmoid(query[:, None] + key)).squeeze(-1) * real
        if counts is not None:
            weight = weight * counts
        return (weight[:, None] @ value).squeeze(1)
