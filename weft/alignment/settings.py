"""Settings of the alignment of pictures and texts. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weft.models.settings import FitSettings


class AlignmentSettings(FitSettings):
    """Two heads that are trained against each other, and how their vectors become one vector per item."""

    epochs: int = Field(500, ge=1, le=10_000, description="Most epochs.")
    patience: int = Field(50, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    batch: int = Field(
        128, ge=2, le=65_536, description="Items per optimiser step: each is contrasted with the others."
    )
    learning_rate: float = Field(3e-4, gt=0, le=1, description="Peak learning rate of Adam.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Decoupled weight decay (AdamW).")
    width: int = Field(
        0,
        ge=0,
        le=4096,
        description="Width of each head's vectors; 0: that of the picture vectors (CLIP ViT-B/16: 512).",
    )
    head: Literal["linear", "mlp"] = Field("linear", description="One linear layer, or two with GELU between them.")
    temperature: float = Field(0.07, gt=0, le=10, description="Divides the cosines before the softmax.")
    held_out: float = Field(
        0.1, gt=0, le=0.5, description="Share of the items with picture and text that picks the epoch; two at least."
    )
    fusion: Literal["concatenation", "mean"] = Field(
        "concatenation", description="How picture and text become the one vector of an item."
    )
