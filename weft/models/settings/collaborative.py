"""Settings of models that know users and items, not orders, and of DIN, which judges pairs. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from weft.models.settings.base import FitSettings, HistorySettings
from weft.models.settings.search import among, between


class CollaborativeSettings(FitSettings):
    """A vector for every user and every item, and what they are trained to: ``weft/models/collaborative.py``."""

    for_pairs: ClassVar[dict[str, Any]] = {"loss": "binary"}

    batch: int = Field(
        1024,
        ge=1,
        le=65_536,
        description="Interactions per optimiser step.",
        json_schema_extra=among(256, 1024, 4096),
    )
    weight_decay: float = Field(
        0.1, ge=0, le=10, description="Decoupled weight decay (AdamW).", json_schema_extra=between(0.01, 3.0, log=True)
    )
    width: int = Field(
        64, ge=2, le=2048, description="Width of user and item vectors.", json_schema_extra=among(32, 64, 128)
    )
    loss: Literal["bpr", "binary"] = Field(
        "bpr",
        description="What was taken above what was drawn, pair by pair; or binary cross-entropy, on labels where the "
        "protocol has them, else against drawn items.",
    )
    negatives: int = Field(
        1, ge=1, le=1000, description="Items drawn against each taken one; none where there are labels."
    )


class MFBPRSettings(CollaborativeSettings):
    """Matrix factorisation has nothing else to set. Free vectors learn labels by heart sooner than taste."""

    for_pairs: ClassVar[dict[str, Any]] = {"loss": "binary", "weight_decay": 1.0}


class NCFSettings(CollaborativeSettings):
    """NCF-MLP (He et al. 2017)."""

    loss: Literal["bpr", "binary"] = Field("binary", description="As of matrix factorisation; the paper's is binary.")
    negatives: int = Field(
        4, ge=1, le=1000, description="Items drawn against each taken one; none where there are labels."
    )
    layers: int = Field(3, ge=1, le=8, description="Layers on the two vectors, each half as wide as the one before.")
    dropout: float = Field(
        0.2, ge=0, lt=1, description="Dropout between the layers.", json_schema_extra=between(0.0, 0.6)
    )

    @model_validator(mode="after")
    def _wide_enough(self) -> Self:
        if 2 * self.width >> self.layers < 1:
            raise ValueError(f"width={self.width} cannot be halved for layers={self.layers}")
        return self


class LightGCNSettings(CollaborativeSettings):
    """LightGCN (He et al. 2020). Spread over the graph, a gradient is smaller; on labels it learns in a few epochs."""

    for_pairs: ClassVar[dict[str, Any]] = {"loss": "binary", "learning_rate": 1e-3}

    learning_rate: float = Field(5e-3, gt=0, le=1, description="Peak learning rate of Adam.")
    layers: int = Field(3, ge=1, le=8, description="Times that vectors are spread over the graph.")


class SGLSettings(LightGCNSettings):
    """SGL (Wu et al. 2021)."""

    edge_dropout: float = Field(0.1, ge=0, lt=1, description="Share of the edges that each of two views lacks.")
    contrast: float = Field(
        0.01, ge=0, le=10, description="Weight of the contrastive loss.", json_schema_extra=between(1e-3, 1.0, log=True)
    )
    temperature: float = Field(0.2, gt=0, le=10, description="What the cosine of two views is divided by.")


class XSimGCLSettings(LightGCNSettings):
    """XSimGCL (Yu et al. 2023). On labels a contrast of the weight that serves rankings drowns the loss."""

    for_pairs: ClassVar[dict[str, Any]] = {**LightGCNSettings.for_pairs, "contrast": 0.01}

    noise: float = Field(0.2, ge=0, le=10, description="Length of the noise that is added to a vector in each layer.")
    contrast: float = Field(
        0.1, ge=0, le=10, description="Weight of the contrastive loss.", json_schema_extra=between(1e-3, 1.0, log=True)
    )
    temperature: float = Field(0.2, gt=0, le=10, description="What the cosine of two layers is divided by.")
    contrasted: int = Field(1, ge=1, le=8, description="The layer that is contrasted with the final vectors.")

    @model_validator(mode="after")
    def _contrasted(self) -> Self:
        if self.contrasted > self.layers:
            raise ValueError(f"contrasted={self.contrasted} is no layer of {self.layers}")
        return self


class DINSettings(HistorySettings):
    """DIN (Zhou et al. 2018), which learns from labelled pairs alone."""

    loss: Literal["binary"] = Field("binary", description="Binary cross-entropy on labels.")
    hidden: int = Field(64, ge=2, le=2048, description="Width of the layers that weigh and judge.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before each layer that judges.")
