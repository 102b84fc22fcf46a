"""NCF-MLP: a small network in the place of the inner product (He et al., WWW 2017).

A user's and an item's vector, one after the other, pass through layers that halve the width each time (eq. 10 and
section 3.3); the last gives the score. Trained by binary cross-entropy against drawn items (eq. 7), or on labels. What
differs: dropout between layers; no pre-training, which the paper has for its fused model alone. There are no vectors
whose product is the score, so item and query vectors are not given out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.models.collaborative import CollaborativeModel, Head
from weft.models.layers import Dropout
from weft.models.settings import NCFSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weft.data.sequences import Queries

# Pairs of the catalogue that are scored together: their first layer is 64 MB at width 64.
_PAIRS = 262_144


class Tower(Head):
    """Layers on the two vectors. The first acts on each by itself, so a catalogue's share is computed once."""

    def __init__(self, settings: NCFSettings) -> None:
        super().__init__()
        widths = [2 * settings.width >> depth for depth in range(settings.layers + 1)]
        self.of_user = nn.Linear(settings.width, widths[1], bias=False)
        self.of_item = nn.Linear(settings.width, widths[1])
        inner = [
            part
            for before, after in pairwise(widths[1:])
            for part in (Dropout(settings.dropout), nn.Linear(before, after), nn.ReLU())
        ]
        self.inner = nn.Sequential(*inner, Dropout(settings.dropout), nn.Linear(widths[-1], 1))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """[..., width] twice to [...]: one item for each user."""
        return self.inner(F.relu(self.of_user(users) + self.of_item(items)))[..., 0]

    def catalogue(self, users: Tensor, items: Tensor) -> Tensor:
        """[q, width] and [n, width] to [q, n]: some users at a time, so that memory stays bounded."""
        users, items = self.of_user(users), self.of_item(items)
        rows = max(_PAIRS // len(items), 1)
        parts = [self.inner(F.relu(part[:, None] + items))[..., 0] for part in users.split(rows)]
        return torch.cat(parts) if parts else users.new_empty(0, len(items))


class NCF(CollaborativeModel[NCFSettings]):
    """The recommender around the layers."""

    @classmethod
    def made_head(cls, settings: NCFSettings) -> Head:
        """The layers."""
        return Tower(settings)

    def item_vectors(self) -> NDArray[np.float32] | None:
        """None: a score is no inner product."""
        return None

    def query_vectors(self, queries: Queries) -> NDArray[np.float32] | None:
        """None: a score is no inner product."""
        del queries
        return None
