"""Profiles: which models do the work, and with which settings. One YAML file per profile beside this page.

A profile is data. No code asks for its name; whoever needs a model asks for its role (``text_encoder``,
``enrichment``, …). Not here: how a model is opened (``resources/language_model.py`` and its like).
"""

from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from weft.errors import RequestError
from weft.language.engine import Sampling

_FOLDER = Path(__file__).parent

PROFILES = tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))
"""Names of the profiles that there are."""


NAME_OR_NOTHING = r"^([A-Za-z_][A-Za-z0-9_]*)?$"
"""A key itself, set where its variable is to be named, is refused by this."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class LanguageModelSpec(_Settings):
    """A causal language model: the house's own, a local one (folder or hub name), or one behind an endpoint."""

    kind: Literal["house", "local", "endpoint"] = Field(description="Where it runs and where it comes from.")
    name: str = Field("house", description="Folder or hub name; for an endpoint, the name its server knows it by.")
    revision: str = Field("", description="Commit of a hub model, empty the newest; of an endpoint, what you call it.")
    adapter: str = Field("", description="Folder of a LoRA adapter.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Numbers of the weights.")
    max_tokens: int = Field(512, ge=8, le=131_072, description="Longest text that is embedded in one piece.")
    base_url: str = Field("", description="Address of an OpenAI-compatible server.")
    key: str = Field("", pattern=NAME_OR_NOTHING, description="Environment variable that holds the server's key.")
    concurrency: int = Field(8, ge=1, le=256, description="Requests in flight at once.")
    timeout: float = Field(120.0, gt=0, le=3600, description="Seconds that one request may take.")

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if self.kind == "endpoint" and not self.base_url:
            raise ValueError("an endpoint needs its base_url")
        return self


class TextTask(_Settings):
    """One family of generated text: who writes it, from which prompt, and how."""

    model: str = Field(description="Name of one of the profile's language models.")
    prompt: str = Field(description="Version of the prompt template.")
    sampling: Sampling = Field(default_factory=Sampling, description="How answers are drawn.")
    attempts: int = Field(2, ge=1, le=10, description="Answers asked for at most when one cannot be read.")
    limit: int = Field(0, ge=0, description="Most items, sessions or pairs that are asked about; 0 is all.")


class ImageTextSpec(_Settings):
    """A model of pictures and texts, opened by open_clip."""

    kind: Literal["house", "local"] = Field(description="The house's own, or a folder or name of open_clip.")
    name: str = Field("house", description="Folder, or name of an architecture such as ViT-B-16.")
    pretrained: str = Field("", description="Tag of the weights of a named architecture.")


class SentenceModelSpec(_Settings):
    """A model of sentences or of pairs of them, opened by sentence-transformers."""

    name: str = Field(description="Folder, hub name, or 'packaged' for the all-MiniLM-L6-v2 that is installed.")
    revision: str = Field("", description="Commit of a hub model.")


class TuningSpec(_Settings):
    """The model that a system adapts by LoRA, how, and what it asks it.

    What the system's own settings class (``TuningSettings``, ``PromptSettings``) calls a field, it is called here;
    what is left out is that class's default.
    """

    model: str = Field(description="Name of one of the profile's language models.")
    prompt: str = Field("paper", description="Version of the prompt template.")
    rows: int = Field(0, ge=0, description="Training rows that are drawn; 0 takes all.")
    history: int = Field(10, ge=0, le=100, description="Labelled rows before the judged one that a prompt tells.")
    attributes: bool = Field(default=False, description="Whether genres stand beside a title.")
    sampling: Sampling = Field(default_factory=Sampling, description="How an answer is drawn where nothing is tuned.")
    rank: int = Field(8, ge=1, le=256, description="Rank of the adapter.")
    alpha: int = Field(32, ge=1, description="Scale of the adapter.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on its input.")
    modules: tuple[str, ...] = Field(description="Projections that are adapted.")
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of all steps over which the learning rate rises.")
    decay: Literal["none", "cosine", "linear"] = Field("none", description="How the learning rate falls after that.")
    epochs: int = Field(3, ge=1, description="Passes over the rows.")
    patience: int = Field(2, ge=0, description="Evaluations without improvement before stopping.")
    batch: int = Field(128, ge=1, description="Rows per step, over all micro-batches.")
    micro_batch: int = Field(0, ge=0, description="Most rows that are computed at once; 0 is the whole batch.")


class Profile(_Settings):
    """Every model that a run uses, by role."""

    name: str
    about: str = Field(description="What it is for.")
    language_models: dict[str, LanguageModelSpec] = Field(description="Language models by a name of the profile's own.")
    text_encoder: str = Field(description="Language model whose hidden states embed item texts (CIT-Rec eq. 3).")
    enrichment: TextTask = Field(description="Writes what an item is (LLM-EMF eq. 1).")
    intent: TextTask = Field(description="Names what a visitor is after (LLM4SBR eq. 1).")
    assessment: TextTask = Field(description="Says what else it would have to know (SCoRe eq. 7).")
    image_text_model: ImageTextSpec = Field(description="Embeds pictures and texts.")
    sentence_encoder: SentenceModelSpec = Field(description="Embeds titles and generated texts.")
    localiser: SentenceModelSpec = Field(description="Embeds answers and names for LLM4SBR (eq. 2-3).")
    retriever: SentenceModelSpec = Field(description="Start of SCoRe's retriever (eq. 5).")
    reranker: SentenceModelSpec = Field(description="Start of SCoRe's reranker (eq. 10).")
    localised: int = Field(5, ge=0, description="K of LLM4SBR eq. 5; 0 keeps the vector of the raw answer.")
    tuning: dict[str, TuningSpec] = Field(description="Adapted models by system.")

    @model_validator(mode="after")
    def _names_its_own(self) -> Self:
        writers = {task.model for task in (self.enrichment, self.intent, self.assessment)}
        asked = {self.text_encoder, *writers, *(spec.model for spec in self.tuning.values())}
        if missing := sorted(asked - set(self.language_models)):
            raise ValueError(f"there is no language model {missing[0]!r} in the profile")
        return self

    @property
    def needs_house(self) -> bool:
        """Whether a model of the house has a role in it."""
        kinds = [spec.kind for spec in self.language_models.values()]
        return "house" in [*kinds, self.image_text_model.kind]

    def language_model(self, name: str) -> LanguageModelSpec:
        """The language model of that name."""
        return self.language_models[name]


@cache
def load(name: str) -> Profile:
    """The profile ``name``.

    Raises:
        RequestError: If there is none, or its file is wrong.
    """
    if name not in PROFILES:
        raise RequestError(f"there is no profile {name!r}", f"choose from {', '.join(PROFILES)}")
    fields = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    try:
        return Profile(name=name, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        remedy = f"mend resources/profiles/{name}.yaml"
        raise RequestError(f"profile {name}: {place}: {first['msg']}", remedy) from error
