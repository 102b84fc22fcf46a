"""The graph of a session as it grows click by click: for every prefix at once, and without a loop.

SR-GNN and its kin draw a session as a graph: its items are the nodes, and an edge leads from each click to the next;
edges that occur twice count once. A new click changes just two nodes of this graph: its own item gains the edge that
arrives, the item before it the edge that leaves. With one step of propagation, a node's vector depends on its own edges
alone, so that every click has no more than two of them: one while it is the last, one from the next click on. Both, for
all clicks, are thus the nodes of the graphs of all prefixes, exactly, at twice the price of one graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class GrowingGraph:
    """The edges of every prefix of right-padded sessions. Rows and columns are clicks; row k is right for real clicks.

    Attributes:
        before: float [batch, time, time]: row k is the mean over the items that came right before the item of click k,
            as one looks back from k. Rows of an item that nothing came before are zero.
        after: float [batch, time, time]: the mean over the items that came right after it, while k is the last click.
        since: float [batch, time, time]: the same from click k + 1 on, until the item is clicked again.
        clicks: float [batch, time, time]: row k counts the clicks on each item in the prefix that ends with k. The
            count stands in the column of the item's latest click there; 0 elsewhere.
    """

    before: Tensor
    after: Tensor
    since: Tensor
    clicks: Tensor

    @classmethod
    def of(cls, inputs: Tensor) -> GrowingGraph:
        """From items, int64 [batch, time], right-padded with 0."""
        same = inputs[:, :, None] == inputs[:, None, :]
        known = same.tril()
        twice = (same[:, 1:, 1:] & same[:, :-1, :-1]).tril(-1)  # the edge to a click, among those to earlier ones
        new = ~twice.any(2)[:, None]
        count = known.sum(2)[:, None]
        latest = (same.cumsum(1) == count).tril()
        return cls(
            before=_means(known[:, :, 1:] & new, (0, 1)),
            after=_means(same.tril(-1)[:, :, :-1] & new, (1, 0)),
            since=_means(known[:, :, :-1] & new, (1, 0)),
            clicks=(latest * count).float(),
        )


def _means(edges: Tensor, beyond: tuple[int, int]) -> Tensor:
    """Bool [batch, time, time - 1] with empty columns at one end, as rows that sum to 1 (or 0)."""
    whole = nn.functional.pad(edges.float(), beyond)
    return whole / whole.sum(2, keepdim=True).clamp(min=1)


class GatedPropagation(nn.Module):
    """One step of SR-GNN's gated propagation (Wu et al. 2019, eq. 1-5) on growing graphs.

    Differs from the paper as its authors' code does: items pass through one linear map per direction before they are
    averaged, and the reset gate acts after the product with U, so that all gates are one matrix product.

    Args:
        width: Width of the vectors.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edges = nn.Linear(width, 2 * width)
        self.gates = nn.Linear(2 * width, 3 * width)
        self.held = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, graph: GrowingGraph) -> tuple[Tensor, Tensor]:
        """The vectors of the clicked items, [batch, time, width]: while a click is the last one, and later."""
        width = x.shape[2]
        before, after = self.edges(x).split(width, 2)
        weight = self.gates.weight
        shared = nn.functional.linear(graph.before @ before, weight[:, :width], self.gates.bias)
        held = self.held(x)
        last, later = (
            self._gated(x, shared + nn.functional.linear(means @ after, weight[:, width:]), held)
            for means in (graph.after, graph.since)
        )
        return last, later

    @staticmethod
    def _gated(x: Tensor, found: Tensor, held: Tensor) -> Tensor:
        width = x.shape[2]
        reset, update = torch.sigmoid(found[..., : 2 * width] + held[..., : 2 * width]).split(width, 2)
        candidate = torch.tanh(found[..., 2 * width :] + reset * held[..., 2 * width :])
        return x + update * (candidate - x)  # torch.lerp takes no mixture of precisions


def relations(inputs: Tensor) -> Tensor:
    """How the items of a session's clicks stand to each other, int64 [batch, time, time], in the whole session.

    Row i and column j: 0 nothing, 1 the same item, 2 i came right before j somewhere, 3 right after, 4 both. A column
    stands for an item, so that only an item's first click has one; rows of clicks on the same item are equal.

    Args:
        inputs: int64 [batch, time], right-padded with 0, which stands to nothing but itself.
    """
    same = inputs[:, :, None] == inputs[:, None, :]
    first = ~same.tril(-1).any(2)[:, None]
    real = (inputs > 0)[:, :, None] & (inputs > 0)[:, None, :]
    before = ((same[:, :, :-1].float() @ same[:, 1:].float()) > 0) & real & ~same
    return (same.long() + 2 * before + 2 * before.mT + (before.mT & ~before)) * first
