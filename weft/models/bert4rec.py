"""BERT4Rec: a transformer that sees both sides of a hidden item (Sun et al., CIKM 2019).

Some items of a history are hidden behind a mask vector and predicted from all others; to answer, a mask is put after
the last item. What differs from the paper, and why: where only the last item is hidden, so that training knows that
task as well, the history ends at a random place, which asks for other items every time; blocks are pre-norm, which
trains without a warm-up; a state is multiplied with the item vectors as it is, without a projection and a bias per
item. A fit takes many epochs, since each learns from a fifth of the items only: most published figures stopped too
early (Petrov & Macdonald, RecSys 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.models.history import HistoryModel
from weft.models.settings import BERT4RecSettings
from weft.models.transformer import TransformerNetwork


class BERT4RecNetwork(TransformerNetwork[BERT4RecSettings]):
    """The network. It has one place more than a history has items: that of the mask which asks for the next."""

    def __init__(self, settings: BERT4RecSettings, n_items: int) -> None:
        super().__init__(settings, n_items, extra=1)
        self.mask = nn.Parameter(torch.randn(settings.width) / settings.width)

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state of a mask after the last item."""
        sequence = F.pad(inputs, (0, 1))
        asked = torch.arange(sequence.shape[1], device=inputs.device) == lengths[:, None]
        x, visible = self.masked(sequence, lengths + 1, asked)
        return self.at(lengths, x, visible)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss over the hidden positions of histories: all of ``inputs``, and the last of ``targets``.

        Both int64 [batch, time]; ``targets`` is the next item of each input, 0 beyond the end.
        """
        sequence = torch.cat([inputs[:, :1], targets], 1)
        lengths, hidden = self.hidden((sequence > 0).sum(1), sequence.shape[1])
        return self.loss(self.through(*self.masked(sequence, lengths, hidden))[hidden], sequence[hidden])

    def hidden(self, lengths: Tensor, time: int) -> tuple[Tensor, Tensor]:
        """Draws what is asked of histories of ``lengths`` (int64 [batch]): at least one item each.

        Returns:
            What is left of each history, int64 [batch], and bool [batch, time] what is hidden in it.
        """
        chance = torch.rand(len(lengths), 2, device=lengths.device)
        only_last = chance[:, 0] < self.settings.last
        lengths = torch.where(only_last, (chance[:, 1] * lengths).long() + 1, lengths)
        column = torch.arange(time, device=lengths.device)
        some = torch.rand(len(lengths), time, device=lengths.device) < self.settings.mask
        some &= (column < lengths[:, None]) & ~only_last[:, None]
        return lengths, some | ((column == lengths[:, None] - 1) & ~some.any(1, keepdim=True))

    def masked(self, sequence: Tensor, lengths: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What the blocks take: the placed vectors with the mask where ``hidden``, and which positions are real."""
        vectors = torch.where(hidden[:, :, None], self.mask, self.items(sequence))
        return self.placed(vectors, lengths), torch.arange(sequence.shape[1], device=sequence.device) < lengths[:, None]


class BERT4Rec(HistoryModel[BERT4RecSettings]):
    """The recommender around the network."""

    network = BERT4RecNetwork
