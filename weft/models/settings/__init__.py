"""Settings of every model: type, bound, default and description, one class each. Imports no torch.

The Launchpad shows them; ``weft run --set sasrec.width=128`` overrides them; ``weft/models/tuned/<dataset>.yaml``
holds what was chosen on the validation split of a public data set, with a section per protocol where that differs.
"""

from weft.models.settings.base import FitSettings, HistorySettings, ModelSettings, PrefixSettings
from weft.models.settings.collaborative import (
    CollaborativeSettings,
    DINSettings,
    LightGCNSettings,
    MFBPRSettings,
    NCFSettings,
    SGLSettings,
    XSimGCLSettings,
)
from weft.models.settings.counting import ItemKNNSettings, PopularitySettings, RecentPopularitySettings
from weft.models.settings.resolve import resolve, stated
from weft.models.settings.sequential import (
    BERT4RecSettings,
    CL4SRecSettings,
    CORESettings,
    FPMCSettings,
    GRU4RecSettings,
    SASRecSettings,
    TransformerSettings,
)
from weft.models.settings.session import (
    DHCNSettings,
    GCEGNNSettings,
    NARMSettings,
    SKNNSettings,
    SRGNNSettings,
    STAMPSettings,
    TAGNNSettings,
    VSKNNSettings,
)

__all__ = [
    "BERT4RecSettings",
    "CL4SRecSettings",
    "CORESettings",
    "CollaborativeSettings",
    "DHCNSettings",
    "DINSettings",
    "FPMCSettings",
    "FitSettings",
    "GCEGNNSettings",
    "GRU4RecSettings",
    "HistorySettings",
    "ItemKNNSettings",
    "LightGCNSettings",
    "MFBPRSettings",
    "ModelSettings",
    "NARMSettings",
    "NCFSettings",
    "PopularitySettings",
    "PrefixSettings",
    "RecentPopularitySettings",
    "SASRecSettings",
    "SGLSettings",
    "SKNNSettings",
    "SRGNNSettings",
    "STAMPSettings",
    "TAGNNSettings",
    "TransformerSettings",
    "VSKNNSettings",
    "XSimGCLSettings",
    "resolve",
    "stated",
]
