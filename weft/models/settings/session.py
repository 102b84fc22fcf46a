"""Settings of models that were made for short sessions. Imports no torch."""

from __future__ import annotations

from weft.models.settings.base import HistorySettings


class NARMSettings(HistorySettings):
    """NARM (Li et al. 2017): the fields of every model of histories, no more."""


class STAMPSettings(HistorySettings):
    """STAMP (Liu et al. 2018): the fields of every model of histories, no more."""


class SRGNNSettings(HistorySettings):
    """SR-GNN (Wu et al. 2019): the fields of every model of histories, no more."""
