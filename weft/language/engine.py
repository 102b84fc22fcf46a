"""What writes answers, whoever it is: a local causal model or a server that speaks the OpenAI protocol.

Everything above this page (generation, its cache, the systems) knows these few words and no library of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


Prompt = Sequence[Message]


class Sampling(BaseModel):
    """How an answer is drawn. All of it is part of an answer's key in the cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_tokens: int = Field(256, ge=1, le=32_768, description="Token budget of one answer.")
    temperature: float = Field(0.0, ge=0, le=2, description="0 takes the likeliest token at every step.")
    top_p: float = Field(1.0, gt=0, le=1, description="Share of the probability that is drawn from.")
    stop: tuple[str, ...] = Field((), description="Texts at which an answer ends; they are not part of it.")
    seed: int = Field(0, ge=0, description="Seed of the draws.")


@dataclass(frozen=True)
class Identity:
    """Who wrote an answer, as far as it can change the answer."""

    model: str
    revision: str = ""
    adapter: str = ""  # digest of the LoRA adapter, empty without


@dataclass(frozen=True)
class Answer:
    """One answer. ``failed`` means that no model answered; the text is empty then and ``error`` says why."""

    text: str
    finish: Literal["stop", "length", "failed"]
    tokens_in: int
    tokens_out: int
    seconds: float
    error: str = ""


class Writer(Protocol):
    """Writes answers."""

    @property
    def identity(self) -> Identity:
        """What answers are kept under."""

    def final(self, prompt: Prompt) -> list[int] | list[Message]:
        """What reaches the model: token ids where we tokenise, messages where a server does."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """Answers as they arrive, each with the place of its prompt; an answer depends on no other prompt."""
