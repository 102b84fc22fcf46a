"""Settings of a tuning: the adapter, and its fit through the one loop. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weft.models.settings import FitSettings

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""All projections of a Llama layer: of attention, and of the feed-forward part."""


class TuningSettings(FitSettings):
    """LoRA (Hu et al. 2022) on a frozen language model; the defaults are CIT-Rec's where it states them."""

    rank: int = Field(8, ge=1, le=256, description="Rank r of the adapter.")
    alpha: int = Field(32, ge=1, le=1024, description="Scale of the adapter: alpha / rank times its output is added.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the adapter's input.")
    modules: tuple[str, ...] = Field(PROJECTIONS, min_length=1, description="Projections that are adapted.")
    epochs: int = Field(5, ge=1, le=10_000, description="Most passes over the rows.")
    patience: int = Field(2, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    batch: int = Field(128, ge=1, le=65_536, description="Rows per optimiser step, over all its parts.")
    micro_batch: int = Field(
        0, ge=0, le=65_536, description="Most rows that are computed at once: bounds memory. 0 is the whole batch."
    )
    learning_rate: float = Field(3e-4, gt=0, le=1, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Decoupled weight decay (AdamW).")
    average: float = Field(0.0, ge=0, le=0, description="Adapters are not averaged.")
    recompute: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether the backward pass computes each layer again instead of keeping its activations: a third "
        "more time, a fraction of the memory. auto does so on a GPU for a model of more than a billion parameters.",
    )
