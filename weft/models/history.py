"""Models that read a history: a network turns it into a state, and an item's score is state times item vector.

What differs between them is the network. Fit, scores, vectors, saving and loading are written here once, for rankings
and for labelled pairs. A network learns in one of two ways: from all positions of a history at once, if its state after
a position does not see what comes later (``CausalNetwork``); else from one prefix at a time (``PrefixModel``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.data.sequences import Events, Queries, Task
from weft.evaluation.selecting import selecting
from weft.models.base import Model, Tensors
from weft.models.settings import HistorySettings, PrefixSettings
from weft.training import loop
from weft.training.batches import HistoryBatches, PrefixBatches
from weft.training.losses import next_item
from weft.training.pairs import PairBatches, PairLoss
from weft.training.runtime import Runtime

Chosen = TypeVar("Chosen", bound=HistorySettings)

# Queries encoded together: large enough to keep two cores busy, small enough for 200 x 64 floats each.
_QUERIES = 256


class HistoryNetwork(nn.Module, ABC, Generic[Chosen]):
    """A network with a vector per item. Row 0 of ``items`` is padding, stays zero and takes part in no softmax.

    Args:
        settings: Width, length, loss.
        n_items: Size of the catalogue.
    """

    def __init__(self, settings: Chosen, n_items: int) -> None:
        super().__init__()
        self.settings = settings
        self.items = nn.Embedding(n_items + 1, settings.width, padding_idx=0)

    @abstractmethod
    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item of each history.

        Args:
            inputs: int64 [batch, time], right-padded with 0, at most ``length`` items.
            lengths: int64 [batch]; 0 for an empty history, whose state is finite and the same for everybody.
        """

    def catalogue(self) -> Tensor:
        """[n_items + 1, width]: what states are multiplied with. Row 0 counts for nothing."""
        return self.items.weight

    def scores(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, n_items + 1]: the score of every item after each history."""
        return self.encode(inputs, lengths) @ self.catalogue().t()

    def pair_scores(self, inputs: Tensor, lengths: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """[r]: the score of ``item`` (int64 [r]) after the history number ``history`` (int64 [r])."""
        return (self.encode(inputs, lengths)[history] * self.catalogue()[item]).sum(1)

    def loss(self, states: Tensor, target: Tensor) -> Tensor:
        """The mean loss of states [r, width] whose next items are ``target`` (int64 [r], from 1)."""
        return next_item(self.settings, states, self.catalogue()[1:], target - 1)


class CausalNetwork(HistoryNetwork[Chosen]):
    """A network whose state after a position sees that position and what came before, so all are learnt at once."""

    @abstractmethod
    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position of right-padded histories."""

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The last of ``states``; a network that can answer for one position alone does so in place of this."""
        rows = torch.arange(len(inputs), device=inputs.device)
        return self.states(inputs, lengths)[rows, (lengths - 1).clamp(min=0)]

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss over the real positions; ``targets`` int64 [batch, time] is the next item of each, 0 beyond."""
        real = targets > 0
        return self.loss(self.states(inputs, real.sum(1))[real], targets[real])


class PrefixNetwork(HistoryNetwork[Chosen]):
    """A network that looks at a history as a whole (a graph of it, a mask in it) and learns what comes after it."""

    def forward(self, inputs: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Mean loss of the next items ``target`` (int64 [batch]) after each history."""
        return self.loss(self.encode(inputs, lengths), target)


class HistoryModel(Model[Chosen]):
    """The recommender around a network that learns from all positions of a history at once."""

    module: HistoryNetwork[Chosen]
    network: ClassVar[type[HistoryNetwork[Any]]]
    """The class of the network."""
    knows_users: ClassVar[bool] = False
    """Whether the network is told who asks: int64 [batch] after its other arguments, 0 for a stranger."""

    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        """Fits on the training histories, or on labelled pairs where the events have labels.

        Validation picks the epoch: by NDCG@10, for labelled pairs by UAUC (AUC where no user has both classes).

        Raises:
            RequestError: If the events have labels and the loss cannot use them.
        """
        settings = self.settings
        fabric = loop.begin(settings, train, runtime)
        self.module = self.made_for(train)
        selects = selecting(validation)
        picks = None if selects is None else loop.Validation(selects[0], partial(selects[1], self))
        if train.label is None:
            batches = self.batches(train, runtime.seed)
            # A network that draws what it asks of a history has not as many targets as the history has positions.
            causal = isinstance(self.module, CausalNetwork)
            alike = batches.per_batch if causal and isinstance(batches, HistoryBatches) else None
            return loop.fit(self.module, batches, settings, runtime, picks, fabric, per_batch=alike)
        pairs = PairBatches(
            train, settings.length, settings.batch, runtime.seed, settings.negatives, users=self.knows_users
        )
        return loop.fit(self.pair_objective(), pairs, settings, runtime, picks, fabric)

    def made_for(self, train: Events) -> HistoryNetwork[Chosen]:
        """An untrained network; a model that builds on the training split itself (a graph of items) does so here."""
        return type(self).network(self.settings, train.n_items)

    def batches(self, train: Events, seed: int) -> loop.Batches:
        """What the network's ``forward`` takes."""
        settings = self.settings
        return HistoryBatches(train.item, train.offsets, settings.length, settings.batch, seed)

    def pair_objective(self) -> nn.Module:
        """The module whose ``forward`` is the loss of a batch of labelled pairs."""
        return PairLoss(self.module)

    def score(self, queries: Queries) -> Tensor:
        """The network's scores of the whole catalogue."""
        scores = self._by_length(queries, self.module.scores, len(self.module.items.weight), *self._asking(queries))
        scores[:, 0] = float("-inf")
        return scores

    def score_pairs(self, queries: Queries, item: NDArray[np.int32]) -> NDArray[np.float32]:
        """The same, for one item per query, without the rest of the catalogue."""

        def of_pairs(inputs: Tensor, lengths: Tensor, asked: Tensor, *user: Tensor) -> Tensor:
            each = torch.arange(len(asked), device=asked.device)
            return self.module.pair_scores(inputs, lengths, each, asked, *user)[:, None]

        answers = self._by_length(queries, of_pairs, 1, item.astype(np.int64), *self._asking(queries))
        return answers[:, 0].cpu().numpy()

    def item_vectors(self) -> NDArray[np.float32] | None:
        """What states are multiplied with."""
        with torch.no_grad():
            vectors = self.module.catalogue().float().cpu().numpy().copy()
        vectors[0] = 0
        return vectors

    def query_vectors(self, queries: Queries) -> NDArray[np.float32] | None:
        """The state after the last item of each history."""
        encode, width = self.module.encode, self.settings.width
        return self._by_length(queries, encode, width, *self._asking(queries)).cpu().numpy()

    def _asking(self, queries: Queries) -> tuple[NDArray[np.int64], ...]:
        return (queries.user.astype(np.int64),) if self.knows_users else ()

    def to(self, device: str) -> str:
        """Moves the network."""
        self.module = self.module.to(device)
        return device

    def tensors(self) -> Tensors:
        """The network's state."""
        return {name: tensor.cpu().numpy() for name, tensor in self.module.state_dict().items()}

    @classmethod
    def load(cls, settings: Chosen, tensors: Tensors) -> Self:
        """From the network's state; the catalogue's size is read off the item matrix."""
        model = cls(settings)
        model.module = cls.remade(settings, tensors)
        model.module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()})
        model.module.eval()
        return model

    @classmethod
    def remade(cls, settings: Chosen, tensors: Tensors) -> HistoryNetwork[Chosen]:
        """A network of the shapes of ``tensors``, to be filled with them."""
        return cls.network(settings, len(tensors["items.weight"]) - 1)

    @torch.no_grad()
    def _by_length(self, queries: Queries, ask: Callable[..., Tensor], width: int, *each: NDArray[np.int64]) -> Tensor:
        """float32 [q, width]: ``ask(inputs, lengths, *each)`` for histories of similar length together.

        So padding is not computed; ``each`` is int64 [q], handed on row by row.
        """
        device = self.module.items.weight.device
        kept = np.minimum(queries.lengths, self.settings.length)
        order = np.argsort(kept, kind="stable")
        answers = torch.empty((len(queries), width), device=device)
        for start in range(0, len(order), _QUERIES):
            rows = order[start : start + _QUERIES]
            inputs = queries.take(rows).padded(int(max(kept[rows].max(), 1))).astype(np.int64)
            given = (
                torch.from_numpy(array).to(device) for array in (inputs, kept[rows], *(part[rows] for part in each))
            )
            answers[torch.from_numpy(rows).to(device)] = ask(*given).float()
        return answers


Prefixed = TypeVar("Prefixed", bound=PrefixSettings)


class PrefixModel(HistoryModel[Prefixed]):
    """The recommender around a network that learns from one prefix at a time."""

    def batches(self, train: Events, seed: int) -> loop.Batches:
        """Prefixes and what came next."""
        settings = self.settings
        return PrefixBatches(train, settings.length, settings.batch, settings.prefixes, seed)
