"""Settings of models of long histories. Imports no torch."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from weft.models.settings.base import HistorySettings
from weft.models.settings.search import among


class TransformerSettings(HistorySettings):
    """Transformer blocks over a history."""

    blocks: int = Field(2, ge=1, le=48, description="Transformer blocks.", json_schema_extra=among(1, 2))
    heads: int = Field(1, ge=1, le=64, description="Attention heads; must divide the width.")
    feedforward: int = Field(1, ge=1, le=8, description="Inner width of the feed-forward layer, in widths.")
    length: int = Field(200, ge=2, le=4096, description="Last items of a history that are read.")

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} must divide width={self.width}")
        return self


class SASRecSettings(TransformerSettings):
    """SASRec (Kang & McAuley 2018) with the losses that make it strong."""


class GRU4RecSettings(HistorySettings):
    """GRU4Rec (Hidasi et al. 2016)."""

    hidden: int = Field(128, ge=4, le=4096, description="Width of the recurrent state.")
    layers: int = Field(1, ge=1, le=8, description="Recurrent layers.")
    length: int = Field(200, ge=2, le=4096, description="Last items of a history that are read.")
