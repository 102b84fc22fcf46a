"""Settings of models that were made for short sessions. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from weft.models.settings.base import HistorySettings, ModelSettings, PrefixSettings
from weft.models.settings.search import among, between

# The graph of n clicks takes n² numbers, and a batch of graphs of 4,096 clicks tens of gigabytes.
GraphLength = Annotated[int, Field(ge=2, le=512, description="Last items of a history that are read.")]


class NARMSettings(HistorySettings):
    """NARM (Li et al. 2017): the fields of every model of histories, no more."""

    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak learning rate of Adam.")


class STAMPSettings(HistorySettings):
    """STAMP (Liu et al. 2018): the fields of every model of histories, no more."""

    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak learning rate of Adam.")


class SKNNSettings(ModelSettings):
    """SKNN (Jannach & Ludewig 2017)."""

    neighbours: int = Field(
        100, ge=1, le=100_000, description="Nearest sessions that vote.", json_schema_extra=among(50, 100, 200, 500)
    )
    sample: int = Field(
        5000,
        ge=1,
        le=10_000_000,
        description="Most recent sessions that share an item with the history, among which the nearest are found.",
        json_schema_extra=among(1000, 5000, 20_000),
    )


class VSKNNSettings(SKNNSettings):
    """V-SKNN (Ludewig & Jannach 2018)."""

    neighbours: int = Field(200, ge=1, le=100_000, description="Nearest sessions that vote.")
    reach: int = Field(
        5,
        ge=1,
        le=10_000,
        description="Newest events of the history that are compared: the weight falls by 1 / reach with each.",
        json_schema_extra=among(2, 3, 5, 10, 20),
    )
    idf: float = Field(
        1.0,
        ge=0,
        le=100,
        description="How much votes for rare items count more: they are multiplied by 1 + idf · ln(sessions / sessions "
        "that hold the item).",
        json_schema_extra=among(0.0, 1.0, 2.0, 5.0),
    )


class GraphSettings(HistorySettings):
    """Models that learn all positions of a session's graph at once."""

    for_pairs: ClassVar[dict[str, Any]] = {**HistorySettings.for_pairs, "learning_rate": 1e-3}

    length: GraphLength = 50
    # At 1e-3 a small data set (eight batches an epoch) is left on a plateau: S²-DHCN on MovieLens-100K, validation
    # NDCG@10 0.038 in place of 0.130.
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Peak learning rate of Adam.")


class SRGNNSettings(GraphSettings):
    """SR-GNN (Wu et al. 2019): the fields of every model of graphs, no more."""


class TAGNNSettings(SRGNNSettings):
    """TAGNN (Yu et al. 2020): SR-GNN's fields; what is sampled has no states to be scored with."""

    @model_validator(mode="after")
    def _all_candidates(self) -> Self:
        if self.loss not in {"cross_entropy", "binary"}:
            raise ValueError("loss must be 'cross_entropy', or 'binary' under a protocol with labels")
        return self


class GCEGNNSettings(PrefixSettings):
    """GCE-GNN (Wang et al. 2020)."""

    length: GraphLength = 50
    prefixes: int = Field(
        4,
        ge=0,
        le=10_000,
        description="Prefixes drawn from each history for an epoch, anew for every epoch; 0 takes all of them.",
    )
    window: int = Field(3, ge=1, le=50, description="Clicks between an item and its neighbours over all sessions.")
    neighbours: int = Field(
        12,
        ge=1,
        le=1000,
        description="Most neighbours of an item over all sessions.",
        json_schema_extra=among(6, 12, 24),
    )
    global_dropout: float = Field(
        0.2, ge=0, lt=1, description="Dropout on what the neighbours give.", json_schema_extra=between(0.0, 0.6)
    )


class DHCNSettings(GraphSettings):
    """S²-DHCN (Xia et al. 2021)."""

    layers: int = Field(1, ge=1, le=8, description="Convolutions over the sessions.", json_schema_extra=among(1, 2, 3))
    contrast: float = Field(
        0.1,
        ge=0,
        le=10,
        description="Weight of the contrast of both channels.",
        json_schema_extra=among(0.0, 0.01, 0.1, 1.0),
    )
