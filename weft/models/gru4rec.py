"""GRU4Rec: a recurrent network over the history (Hidasi et al., ICLR 2016; Hidasi & Karatzoglou, CIKM 2018).

Gated recurrent units read the items one after the other; the state after each predicts the next item. What differs
from the papers, and why: the loss is full softmax cross-entropy instead of one against the other targets of the batch,
which stands in for it where the catalogue is large; input and output share one matrix of items (their "constrained
embedding"), so that the state is mapped to its width; histories are padded to similar lengths instead of running in
parallel lanes, so that no gradient is cut off where a batch ends.
"""

from __future__ import annotations

from torch import Tensor, nn

from weft.models.history import CausalNetwork, HistoryModel
from weft.models.layers import Dropout
from weft.models.settings import GRU4RecSettings


class GRU4RecNetwork(CausalNetwork[GRU4RecSettings]):
    """The network. Padding stands on the right, where no real position sees it."""

    def __init__(self, settings: GRU4RecSettings, n_items: int) -> None:
        super().__init__(settings, n_items)
        self.dropout = Dropout(settings.dropout)
        between = settings.dropout if settings.layers > 1 else 0.0
        self.units = nn.GRU(settings.width, settings.hidden, settings.layers, batch_first=True, dropout=between)
        self.out = nn.Linear(settings.hidden, settings.width)
        nn.init.xavier_normal_(self.items.weight[1:])

    def states(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[batch, time, width]: the state after every position."""
        del lengths
        # Vectors of unit size: as small as they are drawn, the fit stayed at popularity's NDCG@10 for ten epochs.
        read = self.dropout(self.items(inputs) * self.settings.width**0.5)
        return self.out(self.dropout(self.units(read)[0]))


class GRU4Rec(HistoryModel[GRU4RecSettings]):
    """The recommender around the network."""

    network = GRU4RecNetwork
