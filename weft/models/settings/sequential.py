"""Settings of models of long histories. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from weft.models.settings.base import HistorySettings
from weft.models.settings.search import among, between


class TransformerSettings(HistorySettings):
    """Transformer blocks over a history."""

    blocks: int = Field(2, ge=1, le=48, description="Transformer blocks.", json_schema_extra=among(1, 2))
    heads: int = Field(1, ge=1, le=64, description="Attention heads; must divide the width.")
    feedforward: int = Field(1, ge=1, le=8, description="Inner width of the feed-forward layer, in widths.")
    block: Literal["plain", "ligr"] = Field(
        "plain", description="Pre-norm blocks, or those of LiGR: gated branches with SwiGLU (eSASRec)."
    )
    length: int = Field(200, ge=2, le=4096, description="Last items of a history that are read.")
    places: Literal["from_end", "from_start"] = Field(
        "from_end", description="Whether the place of an item says how many come after it or how many came before."
    )

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} must divide width={self.width}")
        return self


class SASRecSettings(TransformerSettings):
    """SASRec (Kang & McAuley 2018) with the losses that make it strong."""


class GRU4RecSettings(HistorySettings):
    """GRU4Rec (Hidasi et al. 2016)."""

    hidden: int = Field(
        128, ge=4, le=4096, description="Width of the recurrent state.", json_schema_extra=among(64, 128, 256)
    )
    layers: int = Field(1, ge=1, le=8, description="Recurrent layers.")
    length: int = Field(200, ge=2, le=4096, description="Last items of a history that are read.")
    batch: int = Field(
        32, ge=1, le=65_536, description="Sequences per optimiser step.", json_schema_extra=among(16, 32, 64, 128)
    )
    learning_rate: float = Field(
        2e-3, gt=0, le=1, description="Peak learning rate of Adam.", json_schema_extra=between(3e-4, 1e-2, log=True)
    )


class BERT4RecSettings(TransformerSettings):
    """BERT4Rec (Sun et al. 2019), with enough epochs: each learns from a share of the items only."""

    for_pairs: ClassVar[dict[str, Any]] = {
        **TransformerSettings.for_pairs, "learning_rate": 1e-3, "epochs": 100, "evaluate_every": 1
    }  # fmt: skip

    epochs: int = Field(200, ge=1, le=10_000, description="Most epochs.")
    patience: int = Field(6, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    evaluate_every: int = Field(5, ge=1, description="Epochs between two evaluations on the validation split.")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak learning rate of Adam.")
    feedforward: int = Field(4, ge=1, le=8, description="Inner width of the feed-forward layer, in widths.")
    batch: int = Field(
        32, ge=1, le=65_536, description="Sequences per optimiser step.", json_schema_extra=among(16, 32, 64, 128)
    )
    mask: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Share of a history's items that are hidden and predicted.",
        json_schema_extra=between(0.1, 0.5),
    )
    last: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the histories that are cut at a random place, with only the last item hidden.",
    )


class CORESettings(TransformerSettings):
    """CORE-trm (Hou et al. 2022)."""

    # Under the paper's temperature a few steps of binary cross-entropy learn the labels by heart.
    for_pairs: ClassVar[dict[str, Any]] = {**TransformerSettings.for_pairs, "temperature": 1.0}

    temperature: float = Field(
        0.07,
        gt=0,
        le=10,
        description="What the cosine of a state and an item is divided by.",
        json_schema_extra=between(0.03, 2.0, log=True),
    )
    item_dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Dropout on item vectors, read and recommended.",
        json_schema_extra=between(0.0, 0.5),
    )


class CL4SRecSettings(SASRecSettings):
    """CL4SRec (Xie et al. 2022): SASRec and a contrast of two versions of a history."""

    contrast: float = Field(0.1, ge=0, le=10, description="Weight of the contrastive loss.")
    temperature: float = Field(0.2, gt=0, le=10, description="What the cosine of two versions is divided by.")
    crop: float = Field(0.6, gt=0, le=1, description="Share of a history that cropping keeps, in one piece.")
    mask: float = Field(0.3, ge=0, le=1, description="Share of its items that masking hides.")
    reorder: float = Field(0.6, ge=0, le=1, description="Share of a history, in one piece, whose order is shuffled.")


class FPMCSettings(HistorySettings):
    """FPMC (Rendle et al. 2010)."""

    for_pairs: ClassVar[dict[str, Any]] = {"loss": "binary"}

    width: int = Field(64, ge=4, le=2048, multiple_of=2, description="Width of user's and last item's factors, both.")
    length: int = Field(1, ge=1, le=1, description="Last items of a history that are read: the last.")
    batch: int = Field(
        1024,
        ge=1,
        le=65_536,
        description="Steps from one item to the next per optimiser step.",
        json_schema_extra=among(256, 512, 1024, 2048),
    )
