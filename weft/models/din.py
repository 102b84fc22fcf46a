"""DIN: what of a history matters depends on the item that is judged (Zhou et al., KDD 2018).

A small network weighs each item of the history by itself against the candidate (the local activation unit), the
weighted sum is what the user cares for here (eq. 3: weights are not normalised, so that their sum tells how much), and
layers on that, the candidate and their product give the score. It learns from labelled pairs alone: the state of a
history differs from candidate to candidate, so there are no vectors to rank a catalogue by; ``score`` judges every
item in turn and is slow. What differs: PReLU everywhere, which the paper compares with its Dice; no profile of the user
and no mini-batch aware regularisation, weight decay in its place. The unit sees history item, candidate and their
product; their difference would add nothing to a linear layer that sees both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

import torch
from torch import Tensor, nn

from weft.errors import RequestError
from weft.models.history import HistoryModel, HistoryNetwork
from weft.models.layers import Dropout
from weft.models.settings import DINSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weft.data.sequences import Events, Queries
    from weft.training import loop

# Pairs of a candidate and a history item whose activation is computed together: 64 MB at width 64.
_PAIRS = 262_144


class DINNetwork(HistoryNetwork[DINSettings]):
    """The network."""

    def __init__(self, settings: DINSettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        width, hidden = settings.width, settings.hidden
        self.of_history = nn.Linear(width, hidden, bias=False)
        self.of_item = nn.Linear(width, hidden)
        self.of_both = nn.Linear(width, hidden, bias=False)
        self.activation = nn.Sequential(nn.PReLU(), nn.Linear(hidden, 1))
        self.judge = nn.Sequential(
            Dropout(settings.dropout),
            nn.Linear(3 * width, hidden),
            nn.PReLU(),
            Dropout(settings.dropout),
            nn.Linear(hidden, 1),
        )
        nn.init.normal_(self.items.weight, std=0.1)
        with torch.no_grad():
            self.items.weight[0].zero_()

    def pair_scores(self, inputs: Tensor, lengths: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """[r]: the score of ``item`` (int64 [r]) after the history number ``history`` (int64 [r])."""
        del lengths  # padding is 0, whose vector is zero and adds nothing to the sum
        read, asked = self.items(inputs), self.items(item)
        told, part = read[history], self.of_history(read)[history]
        activation = self.activation(part + self.of_item(asked)[:, None] + self.of_both(told * asked[:, None]))
        interest = (activation * told).sum(1)
        return self.judge(torch.cat([interest, asked, interest * asked], 1))[:, 0]

    def scores(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, n_items + 1]: every item judged after every history, some pairs at a time."""
        n_items = len(self.items.weight)
        pairs = torch.arange(len(inputs) * n_items, device=inputs.device)
        parts = pairs.split(max(_PAIRS // inputs.shape[1], 1))
        found = [self.pair_scores(inputs, lengths, part // n_items, part % n_items) for part in parts]
        return torch.cat(found).view(len(inputs), n_items)

    def encode(self, inputs: Tensor, lengths: Tensor) -> Never:
        """There is no state without a candidate."""
        raise NotImplementedError


class DIN(HistoryModel[DINSettings]):
    """The recommender around the network."""

    network = DINNetwork

    def batches(self, train: Events, seed: int) -> loop.Batches:
        """None without labels.

        Raises:
            RequestError: Always.
        """
        del train, seed
        raise RequestError("din learns from labelled pairs alone", "choose a pointwise protocol for it")

    def item_vectors(self) -> NDArray[np.float32] | None:
        """None: a score is no inner product."""
        return None

    def query_vectors(self, queries: Queries) -> NDArray[np.float32] | None:
        """None: a state needs a candidate."""
        del queries
        return None
