"""Settings of models that were made for short sessions. Imports no torch."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from weft.models.settings.base import HistorySettings


class NARMSettings(HistorySettings):
    """NARM (Li et al. 2017): the fields of every model of histories, no more."""


class STAMPSettings(HistorySettings):
    """STAMP (Liu et al. 2018): the fields of every model of histories, no more."""


class SRGNNSettings(HistorySettings):
    """SR-GNN (Wu et al. 2019): the fields of every model of histories, no more."""


class TAGNNSettings(SRGNNSettings):
    """TAGNN (Yu et al. 2020): SR-GNN's fields; what is sampled has no states to be scored with."""

    @model_validator(mode="after")
    def _all_candidates(self) -> Self:
        if self.loss not in {"cross_entropy", "binary"}:
            raise ValueError("loss must be 'cross_entropy', or 'binary' under a protocol with labels")
        return self
