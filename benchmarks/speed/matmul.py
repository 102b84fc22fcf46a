"""How fast this machine multiplies the matrices of a SASRec epoch, and how long the epoch would take at that rate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_SECONDS = 0.3  # spent on each shape
_CHUNK = 256  # rows of logits that the loss makes at a time


@dataclass(frozen=True)
class Epoch:
    """The arithmetic of one epoch, padding not counted.

    Attributes:
        lengths: Inputs of each sequence, each with one target.
        batch: Sequences per step.
        width: Width of the vectors.
        blocks: Transformer blocks (feed-forward layers as wide as the vectors).
        n_items: Size of the catalogue.
    """

    lengths: list[int]
    batch: int
    width: int
    blocks: int
    n_items: int

    @property
    def positions(self) -> int:
        """Targets of the epoch."""
        return sum(self.lengths)


def shares(epoch: Epoch) -> dict[str, tuple[float, Callable[[], object], float]]:
    """Per kind of product: operations of the epoch, a call at the shape used, and the operations of that call.

    Backward passes of a linear layer are two products of the forward pass's size. Attention counts the visible half of
    its two products forward and four backward.
    """
    d, v, n = epoch.width, epoch.n_items, epoch.positions
    rows = n * epoch.batch // len(epoch.lengths)
    time_ = max(rows // epoch.batch, 1)
    h, w, g = torch.randn(_CHUNK, d), torch.randn(v, d), torch.randn(_CHUNK, v)
    out, grad_w = torch.empty(_CHUNK, v), torch.zeros(v, d)
    x, y = torch.randn(rows, d), torch.randn(rows, 3 * d)
    qkv, square = torch.randn(3 * d, d), torch.randn(d, d)
    q, k = torch.randn(epoch.batch, time_, d), torch.randn(epoch.batch, d, time_)
    loss, wide, narrow = 2 * d * v, 2 * d * 3 * d * epoch.blocks, 2 * d * d * 3 * epoch.blocks
    attention = 6 * d * epoch.blocks * sum(length * length for length in epoch.lengths)
    plain: dict[str, tuple[float, Callable[[], Tensor], float]] = {
        "logits": (loss * n, lambda: torch.mm(h, w.t(), out=out), loss * _CHUNK),
        "gradient of states": (loss * n, lambda: g @ w, loss * _CHUNK),
        "gradient of items": (loss * n, lambda: grad_w.addmm_(g.t(), h), loss * _CHUNK),
        "query, key, value": (wide * n, lambda: x @ qkv.t(), 6 * d * d * rows),
        "query, key, value: gradient of inputs": (wide * n, lambda: y @ qkv, 6 * d * d * rows),
        "query, key, value: gradient of weights": (wide * n, lambda: y.t() @ x, 6 * d * d * rows),
        "square layers": (narrow * n, lambda: x @ square.t(), 2 * d * d * rows),
        "square layers: gradient of inputs": (narrow * n, lambda: x @ square, 2 * d * d * rows),
        "square layers: gradient of weights": (narrow * n, lambda: x.t() @ x, 2 * d * d * rows),
        "attention": (attention, lambda: torch.bmm(q, k), 2 * d * time_ * time_ * epoch.batch),
    }
    return dict(plain)


def rate(call: Callable[[], object], operations: float) -> float:
    """Operations per second: ``operations`` over the median time of a call."""
    call()
    times: list[float] = []
    while sum(times) < _SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return operations / statistics.median(times)


def ideal_seconds(epoch: Epoch) -> tuple[float, dict[str, float]]:
    """Seconds of the epoch if nothing but its products took time, and GFLOP/s of each kind of product."""
    seconds, rates = 0.0, {}
    for name, (total, call, operations) in shares(epoch).items():
        measured = rate(call, operations)
        seconds += total / measured
        rates[name] = round(measured / 1e9, 1)
    return seconds, rates
