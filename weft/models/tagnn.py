"""TAGNN: target attentive graph neural networks for session-based recommendation (Yu et al., SIGIR 2020).

SR-GNN with one vector more: for a candidate t, the clicks i of the session weigh β_it = softmax_i(v_t · W v_i), and
what the session holds for t is s_t = Σ_i β_it v_i (eq. 5-6). The state is W3 [s_t ; s_l ; s_g] (eq. 9): another one for
every candidate, so that a score is no inner product of two vectors that stand still.

What differs from the paper, and why: as in SR-GNN one step of propagation, with which all prefixes of a session are
learnt at once. v_t · W v_i does not depend on the prefix: exponentials are taken once per session, candidate and node,
and summed over the nodes of each prefix by a matrix product. So as to need no maximum per prefix, logits stop at ±40.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torch.utils.checkpoint import checkpoint

from weft.data.sequences import Events, Queries, Task
from weft.errors import RequestError
from weft.models.history import HistoryModel
from weft.models.settings import TAGNNSettings
from weft.models.srgnn import SRGNNNetwork
from weft.training.runtime import Runtime

# Logits of nodes against candidates held at a time, and about a dozen arrays of that size with what follows: on a CPU
# they should stay in the cache. Beyond _KEPT scores in a batch they are made again in the backward pass.
_CPU_HELD, _GPU_HELD = 2**20, 2**23
_KEPT = 2**25
_TAME = 40.0


class TAGNNNetwork(SRGNNNetwork):
    """The network. ``encode`` and ``states`` give the part of the state that is the same for all candidates."""

    def __init__(self, settings: TAGNNSettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        width = settings.width
        self.pull = nn.Linear(width, width, bias=False)
        self.aimed = nn.Linear(width, width, bias=False)
        for layer in (self.pull, self.aimed):
            nn.init.uniform_(layer.weight, -(width**-0.5), width**-0.5)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the real positions, some sessions at a time."""
        last, later, clicks = self.nodes(inputs)
        given = (last, later, clicks, self.after_each(last, later, clicks), targets)
        items = self.catalogue()[1:].t()
        parts = zip(*(tensor.split(self._step(inputs)) for tensor in given), strict=True)
        few = targets.numel() * len(self.items.weight) <= _KEPT
        loss: Callable[..., Tensor] = self._loss if few else partial(checkpoint, self._loss, use_reentrant=False)
        return torch.stack([loss(*part, items) for part in parts]).sum() / (targets > 0).sum()

    def _loss(
        self, last: Tensor, later: Tensor, clicks: Tensor, states: Tensor, targets: Tensor, items: Tensor
    ) -> Tensor:
        """The summed cross-entropy of all prefixes: each sees its last click as ``last`` and others as ``later``."""
        of_last, last_held = self._weights(last, items)
        of_later, later_held = self._weights(later, items)
        others, itself = clicks.tril(-1), clicks.diagonal(dim1=1, dim2=2)[..., None]
        held = torch.addcmul(others @ later_held, itself, last_held) / torch.addcmul(others @ of_later, itself, of_last)
        scores = states @ items + held
        return F.cross_entropy(scores.flatten(0, 1).float(), targets.flatten() - 1, ignore_index=-1, reduction="sum")

    def scores(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, n_items + 1]: the score of every item after each history, some histories at a time."""
        final, nodes, clicks = self.nodes_at_end(inputs, lengths)
        state = self.after_all(final, nodes, clicks, lengths)
        items = self.catalogue().t()
        step = self._step(nodes)
        parts = zip(nodes.split(step), clicks[:, None].split(step), state[:, None].split(step), strict=True)
        return torch.cat([self._scores(*part, items)[:, 0] for part in parts])

    def pair_scores(self, inputs: Tensor, lengths: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """[r]: the score of ``item`` (int64 [r]) after the history number ``history`` (int64 [r])."""
        final, nodes, clicks = self.nodes_at_end(inputs, lengths)
        state = self.after_all(final, nodes, clicks, lengths)
        items = self.catalogue()[item][..., None]
        return self._scores(nodes[history], clicks[history, None], state[history, None], items)[:, 0, 0]

    def _scores(self, nodes: Tensor, counts: Tensor, states: Tensor, items: Tensor) -> Tensor:
        """[sessions, prefixes, candidates].

        Args:
            nodes: [sessions, nodes, width].
            counts: [sessions, prefixes, nodes], clicks on the nodes of each prefix.
            states: [sessions, prefixes, width].
            items: [width, candidates], or candidates of their own for each session.
        """
        weight, held = self._weights(nodes, items)
        return states @ items + (counts @ held) / (counts @ weight)

    def _weights(self, nodes: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """What each node weighs for each candidate, and this times what it holds for it; [sessions, nodes, r]."""
        # The maps are taken of the candidates: of labelled pairs there is one to a history of many nodes.
        weight = (nodes @ (self.pull.weight.t() @ items)).clamp(-_TAME, _TAME).exp()
        return weight, weight * (nodes @ (self.aimed.weight.t() @ items))

    def _step(self, nodes: Tensor) -> int:
        """Sessions whose logits are held at a time."""
        held = _GPU_HELD if nodes.is_cuda else _CPU_HELD
        return max(held // (nodes.shape[1] * len(self.items.weight)), 1)


class TAGNN(HistoryModel[TAGNNSettings]):
    """The recommender around the network."""

    network = TAGNNNetwork

    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        """As every model of histories.

        Raises:
            RequestError: If the events have no labels and the loss asks for drawn negatives, or as there.
        """
        if train.label is None and self.settings.loss != "cross_entropy":
            raise RequestError(f"tagnn learns from all candidates, not by {self.settings.loss!r}", "leave loss out")
        return super().fit(train, validation, runtime)

    def item_vectors(self) -> None:
        """None: the state differs from candidate to candidate."""

    def query_vectors(self, queries: Queries) -> None:
        """None, as ``item_vectors``."""
        del queries
