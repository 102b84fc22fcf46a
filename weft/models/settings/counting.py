"""Settings of models that count instead of training. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from weft.models.settings.base import ModelSettings


class PopularitySettings(ModelSettings):
    """Popularity over the whole training split has nothing to set."""


class RecentPopularitySettings(ModelSettings):
    """Popularity over the end of the training split."""

    days: float = Field(7.0, gt=0, le=3650, description="Days before the last training event that count.")


class ItemKNNSettings(ModelSettings):
    """Item-to-item neighbours by shrunken cosine."""

    neighbours: int = Field(100, ge=1, le=10_000, description="Most similar items kept per item.")
    shrink: float = Field(10.0, ge=0, description="Added to the denominator: distrusts similarities of rare items.")
    recency: float = Field(
        0.9, gt=0, le=1, description="Weight of each history item relative to the next newer one; 1 forgets nothing."
    )
