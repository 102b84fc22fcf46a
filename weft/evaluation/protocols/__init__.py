"""Protocols: who is asked, what is visible, what is the answer, and which items are ranked.

Not here: scoring (``ranking.py``) and metrics (``metrics.py``). Imports no torch.
"""

from weft.evaluation.protocols.base import Protocol
from weft.evaluation.protocols.global_time import GlobalTime
from weft.evaluation.protocols.leave_one_out import LeaveOneOut
from weft.evaluation.protocols.order import tied_time
from weft.evaluation.protocols.pointwise import PointwiseCollmMonths, PointwiseTime, warm_pairs
from weft.evaluation.protocols.predefined import Predefined
from weft.evaluation.protocols.registry import PROTOCOLS, headline, protocol, seen_in_training

__all__ = [
    "PROTOCOLS",
    "GlobalTime",
    "LeaveOneOut",
    "PointwiseCollmMonths",
    "PointwiseTime",
    "Predefined",
    "Protocol",
    "headline",
    "protocol",
    "seen_in_training",
    "tied_time",
    "warm_pairs",
]
