"""MF-BPR: matrix factorisation by Bayesian personalised ranking (Rendle et al., UAI 2009).

A user's score of an item is the inner product of two free vectors; of an item that was taken and one that was not, the
first shall score higher (BPR-Opt, section 4.1 of the paper). What differs: Adam with decoupled weight decay in the
place of stochastic gradient with an L2 term per factor, mini-batches, and every interaction once per epoch in the place
of a bootstrap.
"""

from __future__ import annotations

from weft.models.collaborative import CollaborativeModel
from weft.models.settings import MFBPRSettings


class MFBPR(CollaborativeModel[MFBPRSettings]):
    """The recommender on free vectors."""
