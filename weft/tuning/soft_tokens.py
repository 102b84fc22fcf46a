"""Soft tokens: vectors of users and items, mapped to where a language model's input embeddings lie.

One map per kind of vector: Linear, GELU, Linear (CIT-Rec eq. 2 for users, eq. 5 for items), then a layer norm times the
standard deviation of the model's own embeddings. Without the norm a vector may be many times as long as a word's, and
training is unstable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.errors import RequestError


class SoftTokens(nn.Module):
    """Tables of vectors, and a trained map from each to input embeddings.

    The tables stay as they are: they are no parameters and not part of ``state_dict``.

    Args:
        tables: By kind, float32 [rows, d]; d may differ. A kind's number is its place here.
        width: Of the model's input embeddings.
        scale: Standard deviation of the model's input embeddings.
        seed: Of the untrained maps.

    Attributes:
        kinds: Names of the kinds; the first is kind 0.
    """

    scale: Tensor

    def __init__(self, tables: Mapping[str, NDArray[np.float32]], width: int, scale: float, seed: int = 0) -> None:
        super().__init__()
        self.kinds = tuple(tables)
        self.width = width
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.maps = nn.ModuleDict({kind: _projection(table.shape[1], width) for kind, table in tables.items()})
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))  # kept with the weights it belongs to
        for kind, table in tables.items():
            self.register_buffer(_table(kind), torch.tensor(table, dtype=torch.float32), persistent=False)

    def forward(self, slots: Tensor) -> Tensor:
        """Input embeddings float32 [s, width] for ``slots``, int64 [s, 2] of (kind, row of its table)."""
        embedded = self.scale.new_zeros(len(slots), self.width)
        for number, kind in enumerate(self.kinds):
            place = (slots[:, 0] == number).nonzero().squeeze(1)
            given = getattr(self, _table(kind))[slots[place, 1]]
            embedded = embedded.index_copy(0, place, self.maps[kind](given).float() * self.scale)
        return embedded

    @torch.inference_mode()
    def vectors(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same, outside training: float32 [s, width] for int64 [s, 2].

        Raises:
            RequestError: If a slot names a row that no table has.
        """
        self.check(slots)
        return self(torch.from_numpy(slots).to(self.scale.device)).cpu().numpy()

    def check(self, slots: NDArray[np.int64]) -> None:
        """Does nothing if every slot has a row; ``forward`` would take another row, or zeros.

        Raises:
            RequestError: If one has none.
        """
        kind, row = slots.T
        rows = np.array([len(getattr(self, _table(each))) for each in self.kinds])
        known = (kind >= 0) & (kind < len(rows))
        known[known] = (row[known] >= 0) & (row[known] < rows[kind[known]])
        if not known.all():
            first = slots[~known][0].tolist()
            raise RequestError(f"no table has row {first[1]} of kind {first[0]}", "give a vector for every slot")

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What was trained, and the scale."""
        return {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}

    @classmethod
    def load(
        cls, tables: Mapping[str, NDArray[np.float32]], width: int, tensors: Mapping[str, NDArray[np.generic]]
    ) -> Self:
        """From ``tensors()`` and the tables, which may hold other rows than in training."""
        tokens = cls(tables, width, 1.0)
        tokens.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()})
        return tokens.eval()


def scale_of(embeddings: nn.Embedding) -> float:
    """Standard deviation of all entries of a table of embeddings."""
    return float(embeddings.weight.detach().float().std())


def _projection(given: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(given, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))


def _table(kind: str) -> str:
    return f"table_{kind}"
