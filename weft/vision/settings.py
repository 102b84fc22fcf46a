"""Settings of the house image-text model. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weft.models.settings import FitSettings


class HouseVisionSettings(FitSettings):
    """A small CLIP from scratch: first on captioned drawings, then on a catalogue's pairs if there are any."""

    epochs: int = Field(6, ge=1, le=10_000, description="Epochs on the drawings.")
    patience: int = Field(0, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    batch: int = Field(64, ge=2, le=65_536, description="Pairs per optimiser step: each is contrasted with the others.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Peak learning rate of Adam.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps over which the learning rate rises.")
    decay: Literal["none", "cosine", "linear"] = Field("cosine", description="How the learning rate falls after it.")
    drawings: int = Field(3000, ge=0, le=1_000_000, description="Captioned drawings; 0 learns from a catalogue alone.")
    catalogue_epochs: int = Field(10, ge=1, le=10_000, description="Epochs on a catalogue's pairs.")
    side: int = Field(64, ge=32, le=512, multiple_of=32, description="Pictures are read at this many pixels square.")
    vision_width: int = Field(8, ge=4, le=256, multiple_of=2, description="Channels of the first block of the ResNet.")
    width: int = Field(128, ge=16, le=1024, multiple_of=16, description="Width of the text layers and of the vectors.")
    layers: int = Field(2, ge=1, le=48, description="Layers of the text tower.")
    context: int = Field(32, ge=8, le=512, description="Tokens that the text tower reads at once.")
    vocabulary: int = Field(1024, ge=300, le=65_536, description="Most tokens of its tokeniser.")
