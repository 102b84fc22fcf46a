"""The hypergraph of training sessions, each of which is an edge that joins all of its items, and its convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.data.sequences import Events


class _Convolve(torch.autograd.Function):
    """``D⁻¹ H B⁻¹ Hᵀ x`` as two means; its gradient is the same again: the transpose is ``D (D⁻¹ H B⁻¹ Hᵀ) D⁻¹``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *graph: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(*graph)
        return _Convolve.means(x, *graph)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        graph = ctx.saved_tensors
        entries, begins = graph[2:]
        degree = torch.diff(begins, append=begins.new_tensor([len(entries)])).clamp(min=1)[:, None]
        return _Convolve.means(grads[0] / degree, *graph) * degree, None, None, None, None

    @staticmethod
    def means(x: Tensor, items: Tensor, session_begins: Tensor, sessions: Tensor, item_begins: Tensor) -> Tensor:
        edges = F.embedding_bag(items, x, session_begins, mode="mean")
        return F.embedding_bag(sessions, edges, item_begins, mode="mean")


class Hypergraph(nn.Module):
    """Which items each session holds, from either side.

    Args:
        arrays: ``items``, int64 [entries], those of each session one after the other; ``session_begins``, int64
            [sessions]; ``sessions``, int64 [entries], those of each item one after the other; ``item_begins``, int64
            [n_items + 1].
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        for name in ("items", "session_begins", "sessions", "item_begins"):
            self.register_buffer(name, torch.from_numpy(np.array(arrays[name])))

    @classmethod
    def of(cls, train: Events) -> Hypergraph:
        """Of the training sessions (of all users, where there are none); an item belongs to one once."""
        session, item = np.unique(np.column_stack([train.user, train.item]), axis=0).astype(np.int64).T
        _, begins, session = np.unique(session, return_index=True, return_inverse=True)
        order = np.argsort(item, kind="stable")
        return cls(
            {
                "items": item,
                "session_begins": begins,
                "sessions": session[order],
                "item_begins": np.searchsorted(item[order], np.arange(train.n_items + 1)),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n_items + 1, width]: each item's mean over its sessions of the mean over their items' vectors ``x``.

        Zero for an item of no session.
        """
        return _Convolve.apply(x, *self.buffers())
