"""Settings that are the systems' own: what of the data is put into their prompts. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from weft.models.settings import FitSettings, ModelSettings


class PromptSettings(ModelSettings):
    """What a pointwise system asks: which rows, and what stands in a prompt."""

    prompt: str = Field("paper", description="Version of the prompt template.")
    rows: int = Field(0, ge=0, description="Training rows that are drawn; 0 takes all.")
    history: int = Field(10, ge=0, le=100, description="Labelled rows before the judged one that a prompt tells.")
    attributes: bool = Field(default=False, description="Whether genres stand beside a title.")


class PlainNetworkSettings(FitSettings):
    """The two-layer network on CIT-Rec's vectors; small, so its steps cost nothing beside a language model's."""

    hidden: int = Field(128, ge=1, le=8192, description="Width of its hidden layer.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout on the hidden layer.")
    epochs: int = Field(30, ge=1, le=10_000, description="Most epochs.")
    patience: int = Field(5, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    batch: int = Field(256, ge=1, le=65_536, description="Rows per optimiser step.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Decoupled weight decay (AdamW).")
