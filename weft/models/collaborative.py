"""Models that know users instead of orders: a vector for every user and every item, and a score of the two.

What differs between them is how the vectors come about (``CollaborativeNetwork.vectors``) and how two of them make a
score (``head``). Fit, scores, vectors, saving and loading are written here once, for rankings and for labelled pairs.
Saved are the finished vectors; what only training needs (a graph) is not.

Who has no event in the training split has no vector of their own: a stranger, an anonymous session, every query of a
session protocol, where sessions take the place of users in training. Such a query takes the mean over its history of
what an item says of those who took it, the mean vector of its users; an item that nobody took, and a query without a
history, the mean of all users. An item without a training event takes the mean of all items: left as it was drawn, it
would stand above all that were ever drawn against a taken one.
"""

from __future__ import annotations

from abc import ABC
from functools import partial
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.data.sequences import Events, Queries, Task
from weft.evaluation.selecting import selecting
from weft.models.base import Model, Tensors
from weft.models.settings import CollaborativeSettings
from weft.training import loop
from weft.training.interactions import InteractionBatches
from weft.training.runtime import Runtime

Chosen = TypeVar("Chosen", bound=CollaborativeSettings)


class Head(nn.Module):
    """What makes a score of a user's and an item's vector: here their inner product, which has no weights."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """[..., width] twice to [...]: one item for each user."""
        return (users * items).sum(-1)

    def catalogue(self, users: Tensor, items: Tensor) -> Tensor:
        """[q, width] and [n, width] to [q, n]: every item for each user."""
        return users @ items.t()


class CollaborativeNetwork(nn.Module, Generic[Chosen]):
    """A free vector for every user and every item; what is scored are those that ``vectors`` makes of them.

    Args:
        settings: Width, loss.
        train: Who and what there is; networks that propagate take their graph from it.
        head: Scores two vectors.
    """

    def __init__(self, settings: Chosen, train: Events, head: Head) -> None:
        super().__init__()
        self.settings = settings
        self.users = nn.Embedding(train.n_users + 1, settings.width)
        self.items = nn.Embedding(train.n_items + 1, settings.width)
        self.head = head
        for table in (self.users, self.items):
            nn.init.xavier_uniform_(table.weight)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """[n_users + 1, d] and [n_items + 1, d]: what is scored; rows 0 count for nothing."""
        return self.users.weight, self.items.weight

    def forward(self, user: Tensor, item: Tensor, label: Tensor) -> Tensor:
        """Mean loss of a batch.

        Args:
            user: int64 [b].
            item: int64 [b, c]; without labels the taken one first, then the drawn ones.
            label: float32 [b, c], 1 for what was taken or liked.
        """
        users, items = self.vectors()
        return self.loss(users, items, user, item, label)

    def loss(self, users: Tensor, items: Tensor, user: Tensor, item: Tensor, label: Tensor) -> Tensor:
        """The loss that the settings name, of finished vectors: BPR-Opt (Rendle et al. 2009, section 4.1) or binary."""
        # The gradient of an embedding is summed in half the time of that of an index.
        scores = self.head(F.embedding(user, users)[:, None], F.embedding(item, items))
        if self.settings.loss == "binary":
            return F.binary_cross_entropy_with_logits(scores, label)
        return -F.logsigmoid(scores[:, :1] - scores[:, 1:]).mean()


class CollaborativeModel(Model[Chosen], ABC):
    """The recommender around a network of users and items."""

    network: ClassVar[type[CollaborativeNetwork[Any]]] = CollaborativeNetwork
    """The class of the network."""

    users: Tensor
    """float32 [n_users + 1, d]; row 0, and that of users without a training event, is the mean of the others."""
    items: Tensor
    """float32 [n_items + 1, d]; row 0, and that of items without a training event, is the mean of the others."""
    takers: Tensor
    """float32 [n_items + 1, d]: the mean vector of those who took (liked) each item; of all users where nobody did."""
    known: NDArray[np.bool_]
    """bool [n_users + 1]: users with a training event."""
    head: Head
    """What makes a score of two vectors."""

    def fit(self, train: Events, validation: Task | None, runtime: Runtime) -> pl.DataFrame:
        """Fits on what was taken against drawn items, or on labels where the events have them; then nothing is drawn.

        Validation picks the epoch: by NDCG@10, for labelled pairs by UAUC (AUC where no user has both classes).

        Raises:
            RequestError: If the events have labels and the loss cannot use them.
        """
        settings = self.settings
        fabric = loop.begin(settings, train, runtime)
        module = type(self).network(settings, train, self.made_head(settings))
        finish = partial(self.finish, module, train)
        selects = selecting(validation)
        picks = None if selects is None else loop.Validation(selects[0], lambda: selects[1](finish()))
        batches = InteractionBatches(train, settings.batch, runtime.seed, settings.negatives)
        history = loop.fit(module, batches, settings, runtime, picks, fabric)
        finish()
        return history

    @classmethod
    def made_head(cls, settings: Chosen) -> Head:
        """What scores two vectors."""
        del settings
        return Head()

    @torch.no_grad()
    def finish(self, module: CollaborativeNetwork[Chosen], train: Events) -> Self:
        """Takes vectors and head of the network as it is, and the mean for who and what it has not seen."""
        users, items = (vectors.detach().float().clone() for vectors in module.vectors())
        for vectors, ids in ((users, train.user), (items, train.item)):
            known = np.isin(np.arange(len(vectors)), ids)
            vectors[~known] = vectors[known].mean(0)
        self.users, self.items, self.head = users, items, module.head
        self.known = np.isin(np.arange(len(users)), train.user)
        liked = train.positives
        user, item = (torch.from_numpy(ids.astype(np.int64)).to(users.device) for ids in (liked.user, liked.item))
        sums = torch.zeros_like(items).index_add_(0, item, users[user])
        count = torch.bincount(item, minlength=len(items))[:, None]
        self.takers = torch.where(count > 0, sums / count.clamp(min=1), users[0])
        return self

    def score(self, queries: Queries) -> Tensor:
        """The score of every item's vector with the query's."""
        with torch.no_grad():
            scores = self.head.catalogue(self._states(queries), self.items)
        scores[:, 0] = float("-inf")
        return scores

    def score_pairs(self, queries: Queries, item: NDArray[np.int32]) -> NDArray[np.float32]:
        """The same, for one item per query, without the rest of the catalogue."""
        asked = torch.from_numpy(item.astype(np.int64)).to(self.items.device)
        with torch.no_grad():
            return self.head(self._states(queries), self.items[asked]).cpu().numpy()

    def item_vectors(self) -> NDArray[np.float32] | None:
        """The finished vectors of the items."""
        vectors = self.items.cpu().numpy().copy()
        vectors[0] = 0
        return vectors

    def query_vectors(self, queries: Queries) -> NDArray[np.float32] | None:
        """The user's vector, or what stands for it."""
        return self._states(queries).cpu().numpy()

    @torch.no_grad()
    def _states(self, queries: Queries) -> Tensor:
        """[q, d]: the vector of each query's user, from the history where they have none."""
        device = self.users.device
        user = np.where((queries.user > 0) & (queries.user < len(self.known)), queries.user, 0)
        states = self.users[torch.from_numpy(user.astype(np.int64)).to(device)]
        told = np.flatnonzero(~self.known[user] & (queries.lengths > 0))
        if len(told):
            asked = queries.take(told)
            items, starts = (
                torch.from_numpy(part.astype(np.int64)).to(device) for part in (asked.items, asked.offsets[:-1])
            )
            states[torch.from_numpy(told).to(device)] = F.embedding_bag(items, self.takers, starts, mode="mean")
        return states

    def to(self, device: str) -> str:
        """Moves vectors and head."""
        self.users, self.items, self.takers = (part.to(device) for part in (self.users, self.items, self.takers))
        self.head = self.head.to(device)
        return device

    def tensors(self) -> Tensors:
        """The finished vectors, who has one, and the weights of the head."""
        named = {"users": self.users, "items": self.items, "takers": self.takers}
        named |= {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        return {**{name: tensor.cpu().numpy() for name, tensor in named.items()}, "known": self.known}

    @classmethod
    def load(cls, settings: Chosen, tensors: Tensors) -> Self:
        """From the finished vectors."""
        model, given = cls(settings), {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
        model.users, model.items, model.takers = (given[name] for name in ("users", "items", "takers"))
        model.known = np.array(tensors["known"], dtype=np.bool_)
        model.head = cls.made_head(settings)
        model.head.load_state_dict(
            {name.removeprefix("head."): part for name, part in given.items() if name.startswith("head.")}
        )
        model.head.eval()
        return model
