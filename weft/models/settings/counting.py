"""Settings of models that count instead of training. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from weft.models.settings.base import ModelSettings
from weft.models.settings.search import among, between


class PopularitySettings(ModelSettings):
    """Popularity over the whole training split has nothing to set."""


class RecentPopularitySettings(ModelSettings):
    """Popularity over the end of the training split."""

    days: float = Field(
        7.0,
        gt=0,
        le=3650,
        description="Days before the last training event that count.",
        json_schema_extra=between(1.0, 365.0, log=True),
    )


class ItemKNNSettings(ModelSettings):
    """Item-to-item neighbours by shrunken cosine."""

    neighbours: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Most similar items kept per item.",
        json_schema_extra=among(50, 100, 200, 500),
    )
    shrink: float = Field(
        10.0,
        ge=0,
        description="Added to the denominator: distrusts similarities of rare items.",
        json_schema_extra=between(1.0, 300.0, log=True),
    )
    recency: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Weight of each history item relative to the next newer one; 1 forgets nothing.",
        json_schema_extra=between(0.5, 1.0),
    )
