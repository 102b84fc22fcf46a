"""What the settings of all models share: bounds, the one fit loop, histories and their losses. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weft.models.settings.search import among, between


class ModelSettings(BaseModel):
    """Base of all settings: unknown fields are refused, values do not change afterwards.

    Attributes:
        for_pairs: Defaults under a pointwise protocol, over those of the fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    for_pairs: ClassVar[dict[str, Any]] = {}


class FitSettings(ModelSettings):
    """The one fit loop."""

    epochs: int = Field(100, ge=1, le=10_000, description="Most epochs.")
    patience: int = Field(10, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    evaluate_every: int = Field(1, ge=1, description="Epochs between two evaluations on the validation split.")
    batch: int = Field(
        128, ge=1, le=65_536, description="Sequences per optimiser step.", json_schema_extra=among(64, 128, 256, 512)
    )
    learning_rate: float = Field(
        1e-3, gt=0, le=1, description="Peak learning rate of Adam.", json_schema_extra=between(3e-4, 1e-2, log=True)
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="Decoupled weight decay (AdamW).", json_schema_extra=among(0.0, 0.01, 0.1, 1.0)
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of all steps over which the learning rate rises.")
    decay: Literal["none", "cosine", "linear"] = Field(
        "none", description="How the learning rate falls after the warm-up, over the remaining epochs."
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="Share of an average of the weights that one step leaves; 0 keeps the weights."
    )


class HistorySettings(FitSettings):
    """A network that turns a history into a state, and what it is trained to: ``weft/models/history.py``."""

    # An epoch encodes a history for every labelled row, and labels are learnt by heart within a few of them.
    for_pairs: ClassVar[dict[str, Any]] = {"loss": "binary", "length": 50, "patience": 5}

    width: int = Field(
        64, ge=4, le=2048, description="Width of item vectors and layers.", json_schema_extra=among(32, 64, 128)
    )
    length: int = Field(50, ge=2, le=4096, description="Last items of a history that are read.")
    dropout: float = Field(
        0.2, ge=0, lt=1, description="Dropout on inputs and block outputs.", json_schema_extra=between(0.0, 0.6)
    )
    loss: Literal["cross_entropy", "sampled_softmax", "binary", "gbce"] = Field(
        "cross_entropy",
        description="Full softmax over the catalogue; softmax over sampled negatives (large catalogues); "
        "binary cross-entropy, on labels where the protocol has them, else against sampled negatives; "
        "binary cross-entropy corrected for the sampling (gSASRec).",
    )
    negatives: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Sampled negatives: per step for sampled_softmax; per positive for gbce, and for binary, where 0 "
        "means one without labels and none beside labels.",
    )
    calibration: float = Field(
        0.75,
        ge=0,
        le=1,
        description="t of gbce: 0 is plain binary cross-entropy, 1 undoes the over-confidence of sampling entirely.",
    )

    @model_validator(mode="after")
    def _losses(self) -> Self:
        if self.loss in {"sampled_softmax", "gbce"} and self.negatives == 0:
            raise ValueError(f"loss={self.loss!r} needs negatives of at least 1")
        if self.loss == "cross_entropy" and self.negatives > 0:
            raise ValueError("loss='cross_entropy' ranks the whole catalogue: it needs negatives=0")
        return self


class PrefixSettings(HistorySettings):
    """A network that learns from one prefix of a history at a time."""

    prefixes: int = Field(
        1,
        ge=0,
        le=10_000,
        description="Prefixes drawn from each history for an epoch, anew for every epoch; 0 takes all of them.",
    )
