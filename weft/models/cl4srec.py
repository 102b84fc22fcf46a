"""CL4SRec: SASRec that also learns to tell histories apart by their changed copies (Xie et al., ICDE 2022).

Two copies of each history are changed at random, by cropping, masking or reordering (section 3.3 of the paper); beside
SASRec's own loss, the states of both shall be nearest to each other among those of the batch (InfoNCE, section 3.2).
What differs from the paper, and why: states are compared by cosine over a temperature, since the last norm gives all
one length, and inner products would start far out; a copy is told from the second copies of the other histories, in
both directions; a masked item has the zero vector of padding in the place of a learnt one. SASRec is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.models.sasrec import SASRec, SASRecNetwork
from weft.models.settings import CL4SRecSettings
from weft.training.losses import info_nce
from weft.training.pairs import PairLoss

Changed = tuple[Tensor, Tensor]
"""Items int64 [batch, time], right-padded with 0, and lengths int64 [batch]."""


def crop(inputs: Tensor, lengths: Tensor, share: float) -> Changed:
    """One piece of each history, ``share`` of its length, at least one item."""
    left = (share * lengths).long().clamp(min=1)
    column = torch.arange(inputs.shape[1], device=inputs.device)
    index = (_start(lengths, left) + column).clamp(max=inputs.shape[1] - 1)
    return inputs.gather(1, index) * (column < left[:, None]), left


def mask(inputs: Tensor, lengths: Tensor, share: float) -> Changed:
    """Each history with 0 for ``share`` of its items."""
    padding = torch.arange(inputs.shape[1], device=inputs.device) >= lengths[:, None]
    chance = torch.rand(inputs.shape, device=inputs.device) + padding  # padding comes last
    place = chance.argsort(1).argsort(1)
    return inputs * (place >= (share * lengths).long()[:, None]), lengths


def reorder(inputs: Tensor, lengths: Tensor, share: float) -> Changed:
    """Each history with one piece, ``share`` of its length, in an order of chance."""
    piece = (share * lengths).long()
    start, column = _start(lengths, piece), torch.arange(inputs.shape[1], device=inputs.device)
    inside = (column >= start) & (column < start + piece[:, None])
    shuffled = start + torch.rand(inputs.shape, device=inputs.device) * piece[:, None]
    return inputs.gather(1, torch.where(inside, shuffled, column.float()).argsort(1)), lengths


def _start(lengths: Tensor, piece: Tensor) -> Tensor:
    """int64 [batch, 1]: where a piece of each history begins, every place as likely."""
    return (torch.rand(len(lengths), device=lengths.device) * (lengths - piece + 1)).long()[:, None]


class CL4SRecNetwork(SASRecNetwork[CL4SRecSettings]):
    """The network, which is SASRec's, and its two losses."""

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """SASRec's loss and the contrastive one."""
        return super().forward(inputs, targets) + self.contrast(inputs, (targets > 0).sum(1))

    def contrast(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The weighted contrastive loss of the histories with two items or more: of others, copies hardly differ."""
        told = lengths > 1
        if told.sum() < 2:  # there is nothing to be told from
            return self.items.weight.new_zeros(())
        one, other = (self.encode(*self.changed(inputs[told], lengths[told])) for _ in range(2))
        temperature = self.settings.temperature
        return self.settings.contrast * (info_nce(one, other, temperature) + info_nce(other, one, temperature)) / 2

    def changed(self, inputs: Tensor, lengths: Tensor) -> Changed:
        """Each history changed in one of the three ways, drawn for each."""
        ways = ((crop, self.settings.crop), (mask, self.settings.mask), (reorder, self.settings.reorder))
        items, left = zip(*(way(inputs, lengths, share) for way, share in ways), strict=True)
        rows = torch.arange(len(inputs), device=inputs.device)
        drawn = torch.randint(len(ways), (len(inputs),), device=inputs.device)
        return torch.stack(items)[drawn, rows], torch.stack(left)[drawn, rows]


class ContrastivePairLoss(PairLoss):
    """The loss of labelled pairs and the contrastive one of the histories that they are judged after."""

    def forward(self, inputs: Tensor, lengths: Tensor, *rows: Tensor) -> Tensor:  # type: ignore[override]
        """Takes what ``PairLoss`` takes."""
        return super().forward(inputs, lengths, *rows) + self.network.contrast(inputs, lengths)  # type: ignore[operator]


class CL4SRec(SASRec[CL4SRecSettings]):
    """The recommender around the network."""

    network = CL4SRecNetwork

    def pair_objective(self) -> nn.Module:
        """With the contrastive loss."""
        return ContrastivePairLoss(self.module)
