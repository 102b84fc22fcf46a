"""Settings of models that know users and items, not orders. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from weft.models.settings.base import FitSettings


class CollaborativeSettings(FitSettings):
    """A vector for every user and every item, and what they are trained to: ``weft/models/collaborative.py``."""

    for_pairs: ClassVar[dict[str, Any]] = {"loss": "binary"}

    batch: int = Field(1024, ge=1, le=65_536, description="Interactions per optimiser step.")
    width: int = Field(64, ge=2, le=2048, description="Width of user and item vectors.")
    loss: Literal["bpr", "binary"] = Field(
        "bpr",
        description="What was taken above what was drawn, pair by pair; or binary cross-entropy, on labels where the "
        "protocol has them, else against drawn items.",
    )
    negatives: int = Field(
        1, ge=1, le=1000, description="Items drawn against each taken one; none where there are labels."
    )


class MFBPRSettings(CollaborativeSettings):
    """Matrix factorisation has nothing else to set."""
