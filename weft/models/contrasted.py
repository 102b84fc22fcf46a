"""LightGCN with a contrast of two versions of the graph's vectors, as SGL and XSimGCL learn it.

A user's vector in one version shall be nearer to their own in the other than to those of the batch's other users
(InfoNCE), and so for items. InfoNCE sees directions alone: the shorter a vector, the larger its gradient. From the
short vectors that the other models begin with it drowns the loss of the scores, and nothing else is ever learnt
(MovieLens-100K: NDCG@10 of 0.007 on validation, against 0.066 from these). So free vectors begin with numbers of
deviation 0.1, as they do in LightGCN's published code.
"""

from __future__ import annotations

from torch import Tensor, nn

from weft.data.sequences import Events
from weft.models.collaborative import Head
from weft.models.lightgcn import Chosen, LightGCNNetwork
from weft.training.losses import info_nce

Vectors = tuple[Tensor, Tensor]
"""Those of all users and those of all items."""


class ContrastedNetwork(LightGCNNetwork[Chosen]):
    """The network without its loss."""

    def __init__(self, settings: Chosen, train: Events, head: Head) -> None:
        super().__init__(settings, train, head)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    @staticmethod
    def contrast(one: Vectors, other: Vectors, user: Tensor, item: Tensor, temperature: float) -> Tensor:
        """InfoNCE of the users and of the items of a batch, summed.

        Args:
            one: A version of the vectors.
            other: The other one.
            user: int64 [b].
            item: int64 [b, c], of which the first of each row counts.
            temperature: What a cosine is divided by.
        """
        who, what = user.unique(), item[:, 0].unique()
        of_users = info_nce(one[0][who], other[0][who], temperature)
        return of_users + info_nce(one[1][what], other[1][what], temperature)
