"""Settings of the house language model. Imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from weft.models.settings import FitSettings


class HouseLanguageSettings(FitSettings):
    """A small Llama that knows the works of one world.

    Many small steps: knowledge comes as a jump between two epochs, and large batches only delay it.
    """

    works: int = Field(600, ge=10, le=25_600, description="Works of the world that are learnt, the first of it.")
    world: int = Field(0, ge=0, description="Seed of the world; a shop must stock the same one.")
    first: int = Field(60, ge=10, le=25_600, description="Works that the first epoch dwells on: the way in.")
    sentences: int = Field(7, ge=1, le=50, description="Sentences on the mood of each work per epoch.")
    themes: int = Field(3, ge=0, le=12, description="Sentences on the theme of each work per epoch.")
    enrichments: int = Field(2, ge=0, le=10, description="Descriptions of each work per epoch.")
    intents: int = Field(2, ge=0, le=10, description="Intent questions per work and epoch.")
    assessments: int = Field(1, ge=0, le=10, description="Assessment questions per work and epoch.")
    vocabulary: int = Field(
        8_192, ge=512, le=65_536, description="Most tokens; fewer where no pair of tokens is left to merge."
    )
    layers: int = Field(2, ge=1, le=32, description="Transformer layers.")
    width: int = Field(128, ge=16, le=4096, description="Width of token vectors and layers.")
    heads: int = Field(4, ge=1, le=64, description="Attention heads; must divide the width.")
    feedforward: int = Field(256, ge=16, le=16_384, description="Inner width of the feed-forward layers.")
    length: int = Field(128, ge=64, le=4096, description="Most tokens of a text that is learnt; the rest is cut.")
    threshold: float = Field(
        0.95, gt=0, le=1, description="Share of right facts in unseen sentences and in answers at which learning stops."
    )
    epochs: int = Field(6, ge=1, le=1_000, description="Most epochs.")
    patience: int = Field(0, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    batch: int = Field(256, ge=32, le=65_536, description="Tokens per optimiser step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate of Adam.")
    decay: Literal["none", "cosine", "linear"] = Field(
        "linear", description="How the learning rate falls over the epochs; without, knowledge comes and goes."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width={self.width} must be a multiple of twice heads={self.heads}")
        return self
