"""Settings of every model: type, bound, default and description, one class each. Imports no torch.

The Launchpad shows them; ``weft run --set sasrec.width=128`` overrides them; ``weft/models/tuned/<dataset>.yaml``
holds what was chosen on the validation split of a public data set, with a section per protocol where that differs.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weft.errors import RequestError
from weft.evaluation.protocols import PROTOCOLS


class ModelSettings(BaseModel):
    """Base of all settings: unknown fields are refused, values do not change afterwards.

    Attributes:
        for_pairs: Defaults under a pointwise protocol, over those of the fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    for_pairs: ClassVar[dict[str, Any]] = {}


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


class FitSettings(ModelSettings):
    """The one fit loop."""

    epochs: int = Field(100, ge=1, le=10_000, description="Most epochs.")
    patience: int = Field(10, ge=0, description="Evaluations without improvement before stopping; 0 never stops early.")
    evaluate_every: int = Field(1, ge=1, description="Epochs between two evaluations on the validation split.")
    batch: int = Field(128, ge=1, le=65_536, description="Sequences per optimiser step.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Peak learning rate of Adam.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="Decoupled weight decay (AdamW).")
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of all steps over which the learning rate rises.")
    decay: Literal["none", "cosine", "linear"] = Field(
        "none", description="How the learning rate falls after the warm-up, over the remaining epochs."
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="Share of an average of the weights that one step leaves; 0 keeps the weights."
    )


class SASRecSettings(FitSettings):
    """SASRec (Kang & McAuley 2018) with the losses that make it strong."""

    for_pairs: ClassVar[dict[str, Any]] = {"loss": "binary", "length": 50}

    width: int = Field(64, ge=4, le=2048, description="Width of item vectors and layers.")
    blocks: int = Field(2, ge=1, le=48, description="Transformer blocks.")
    heads: int = Field(1, ge=1, le=64, description="Attention heads; must divide the width.")
    feedforward: int = Field(1, ge=1, le=8, description="Inner width of the feed-forward layer, in widths.")
    length: int = Field(200, ge=2, le=4096, description="Last items of a history that are read.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout on inputs and block outputs.")
    loss: Literal["cross_entropy", "sampled_softmax", "binary"] = Field(
        "cross_entropy",
        description="Full softmax over the catalogue; softmax over sampled negatives (large catalogues); "
        "binary cross-entropy, on labels where the protocol has them, else against sampled negatives (the paper's).",
    )
    negatives: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Sampled negatives: per step for sampled_softmax; per positive for binary, where 0 means one "
        "without labels (the paper's) and none beside labels.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} must divide width={self.width}")
        if self.loss == "sampled_softmax" and self.negatives == 0:
            raise ValueError("loss='sampled_softmax' needs negatives of at least 1")
        if self.loss == "cross_entropy" and self.negatives > 0:
            raise ValueError("loss='cross_entropy' ranks the whole catalogue: it needs negatives=0")
        return self


@cache
def _tuned(dataset: str) -> dict[str, dict[str, Any]]:
    file = resources.files("weft.models") / "tuned" / f"{dataset}.yaml"
    return (yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}


_Kind = TypeVar("_Kind", bound=ModelSettings)


def resolve(
    settings: type[_Kind], model: str, dataset: str, overrides: dict[str, Any], protocol: str | None = None
) -> _Kind:
    """The settings of ``model`` on ``dataset``: defaults, then what was tuned, then ``overrides``.

    Tuned for a ranking protocol is the data set's own section, then that of the protocol. Under a pointwise protocol
    the defaults for pairs count, then the section of the protocol: what was chosen for rankings says nothing there.

    Raises:
        RequestError: If a name is unknown, a value is out of bounds, or the loss cannot use a protocol's labels.
    """
    tuned = _tuned(dataset)
    pairs = protocol is not None and PROTOCOLS[protocol].kind == "pointwise"
    base = settings.for_pairs if pairs else tuned.get(model, {})
    special = tuned.get(protocol, {}).get(model, {}) if protocol else {}
    try:
        made = settings(**{**base, **special, **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join([model, *map(str, first["loc"])])
        raise RequestError(f"setting {field}: {first['msg']}", f"fields: {', '.join(settings.model_fields)}") from error
    loss = getattr(made, "loss", None)
    if pairs and loss != settings.for_pairs.get("loss"):
        raise RequestError(f"{model}.loss={loss} cannot use the labels of {protocol}", f"leave {model}.loss out")
    return made
