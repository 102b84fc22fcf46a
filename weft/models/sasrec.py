"""SASRec: self-attentive sequential recommendation (Kang & McAuley, ICDM 2018).

A causal transformer reads the history and predicts the next item at every position at once. What differs from the
paper, and why: the loss is full softmax cross-entropy (or another of ``weft/training/losses.py``) instead of one
negative per position, which is the largest single gain known (Klenitskiy & Vasilev, RecSys 2023); blocks are pre-norm;
attention weights have no dropout of their own. gSASRec (Petrov & Macdonald, RecSys 2023) is ``loss=gbce`` with 256
negatives; eSASRec (Tikhonovich et al., RecSys 2025) is ``block=ligr``.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from weft.models.history import CausalNetwork, HistoryModel
from weft.models.settings import SASRecSettings
from weft.models.transformer import TransformerNetwork

Chosen = TypeVar("Chosen", bound=SASRecSettings)


class SASRecNetwork(TransformerNetwork[Chosen], CausalNetwork[Chosen]):
    """The network."""

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position."""
        return self.through(self.placed(self.items(inputs), lengths))

    def encode(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, width]: the state after the last item; of the last block only that position is computed."""
        return self.at((lengths - 1).clamp(min=0), self.placed(self.items(inputs), lengths))


class SASRec(HistoryModel[Chosen]):
    """The recommender around the network."""

    network = SASRecNetwork
