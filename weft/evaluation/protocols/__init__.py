"""Protocols: who is asked, what is visible, what is the answer, and which items are ranked.

Not here: scoring (``ranking.py``) and metrics (``metrics.py``). Imports no torch.
"""

from weft.evaluation.protocols.base import Protocol
from weft.evaluation.protocols.order import tied_time
from weft.evaluation.protocols.pointwise import warm_pairs
from weft.evaluation.protocols.registry import PROTOCOLS, headline, protocol, seen_in_training
from weft.evaluation.protocols.sampling import Sampled
from weft.evaluation.protocols.sessions import BySession

__all__ = [
    "PROTOCOLS",
    "BySession",
    "Protocol",
    "Sampled",
    "headline",
    "protocol",
    "seen_in_training",
    "tied_time",
    "warm_pairs",
]
