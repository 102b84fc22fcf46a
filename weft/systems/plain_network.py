"""A plain two-layer network on CIT-Rec's own vectors: what the language model itself adds is the rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.evaluation.metrics import auc
from weft.systems.settings import PlainNetworkSettings
from weft.training.loop import Validation, fit, open_fabric
from weft.training.runtime import Runtime
from weft.training.tensor_batches import TensorBatches


class PlainNetwork(nn.Module):
    """Linear, GELU, Linear on user state and item vector side by side, each normalised on its own.

    Args:
        user: Width of user states.
        item: Width of item vectors.
        settings: Hidden width and dropout.
    """

    def __init__(self, user: int, item: int, settings: PlainNetworkSettings) -> None:
        super().__init__()
        self.user, self.item = (nn.LayerNorm(width, elementwise_affine=False) for width in (user, item))
        self.hidden = nn.Linear(user + item, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.out = nn.Linear(settings.hidden, 1)

    def forward(self, users: Tensor, items: Tensor, labels: Tensor) -> Tensor:
        """Mean binary cross-entropy of a batch: float32 [b, d], [b, d'] and [b] (1 or 0)."""
        return F.binary_cross_entropy_with_logits(self.logits(users, items), labels)

    def logits(self, users: Tensor, items: Tensor) -> Tensor:
        """float32 [b]: log-odds that the user likes the item."""
        given = torch.cat([self.user(users), self.item(items)], dim=1)
        return self.out(self.dropout(F.gelu(self.hidden(given))))[:, 0]

    @torch.inference_mode()
    def score(self, users: NDArray[np.float32], items: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n]: the same outside training."""
        self.eval()
        device = self.out.weight.device
        return self.logits(*(torch.from_numpy(part).to(device) for part in (users, items))).float().cpu().numpy()

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Everything that ``load`` needs."""
        return {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}

    @classmethod
    def load(
        cls, user: int, item: int, settings: PlainNetworkSettings, tensors: Mapping[str, NDArray[np.generic]]
    ) -> PlainNetwork:
        """The fitted network."""
        network = cls(user, item, settings)
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()})
        return network.eval()


def train(
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    labels: NDArray[np.bool_],
    held: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]],
    settings: PlainNetworkSettings,
    runtime: Runtime,
) -> tuple[PlainNetwork, pl.DataFrame]:
    """The network fitted on rows of (user state, item vector, label), and its history; ``held`` picks the epoch."""
    torch.manual_seed(runtime.seed)
    network = PlainNetwork(users.shape[1], items.shape[1], settings)
    rows = [torch.from_numpy(part) for part in (users, items, labels.astype(np.float32))]
    batches = TensorBatches(rows, settings.batch, runtime.seed)
    validation = Validation("auc", lambda: float(auc(held[2], network.score(*held[:2]).astype(np.float64))[0]))
    both = held[2].any() and not held[2].all()
    history = fit(network, batches, settings, runtime, validation if both else None, open_fabric(runtime))
    return network, history
