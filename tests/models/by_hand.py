"""Transformer blocks from their equations, in numpy and one position at a time: what networks are held against."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]


def values(module: nn.Module) -> dict[str, Array]:
    """A module's parameters and buffers in double precision."""
    return {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}


def part(of: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The parameters of one submodule."""
    return {name.removeprefix(prefix): value for name, value in of.items() if name.startswith(prefix)}


def norm(of: Mapping[str, Array], name: str, x: Array) -> Array:
    scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return scaled * of[f"{name}.weight"] + of[f"{name}.bias"]


def linear(of: Mapping[str, Array], name: str, x: Array) -> Array:
    return of[f"{name}.weight"] @ x + of[f"{name}.bias"]


def softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max())
    return exponentials / exponentials.sum()


def attended(of: Mapping[str, Array], x: list[Array], heads: int, seen: list[list[int]]) -> list[Array]:
    """Multi-head attention of every position over the positions that it sees."""
    width = len(x[0])
    q, k, v = zip(*(np.split(linear(of, "qkv", norm(of, "attention_norm", one)), 3) for one in x), strict=True)
    size = width // heads
    out = []
    for place, visible in enumerate(seen):
        joined = []
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            weights = softmax(np.array([q[place][own] @ k[other][own] / np.sqrt(size) for other in visible]))
            joined.append(sum(weight * v[other][own] for weight, other in zip(weights, visible, strict=True)))
        out.append(linear(of, "attention_out", np.concatenate(joined)))
    return out


def block(of: Mapping[str, Array], x: list[Array], heads: int, seen: list[list[int]]) -> list[Array]:
    """A pre-norm block: x + attention(norm(x)), and to that y + W₂ relu(W₁ norm(y))."""
    out = []
    for one, branch in zip(x, attended(of, x, heads, seen), strict=True):
        y = one + branch
        inner = np.maximum(linear(of, "feedforward.0", norm(of, "feedforward_norm", y)), 0)
        out.append(y + linear(of, "feedforward.3", inner))
    return out


def causal(time: int) -> list[list[int]]:
    """Each position sees itself and what came before."""
    return [list(range(place + 1)) for place in range(time)]
