"""Tuning on answers: cross-entropy of the answer's tokens, and of no other (CIT-Rec eq. 6; TALLRec, Bao et al. 2023).

Two things make it fast and neither changes a figure: prompts of like length go together, so that padding is hardly
computed, and logits over the vocabulary are computed only where a token of the answer follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.errors import RequestError
from weft.language.local import LocalModel
from weft.language.tokens import SLOT_ID
from weft.training.batches import of_similar_length
from weft.tuning import adapter
from weft.tuning.soft_tokens import SoftTokens

if TYPE_CHECKING:
    import polars as pl

    from weft.training.loop import Validation
    from weft.training.runtime import Runtime
    from weft.tuning.settings import TuningSettings

# Batches of prompts drawn together: less padding, still mixed.
_POOL_BATCHES = 20
_LARGE = 1_000_000_000

Batch = tuple[tuple[Tensor, ...], int]


@dataclass(frozen=True)
class Rows:
    """Prompts with their answers, as token ids.

    Attributes:
        prompts: Token ids of each prompt, ``SLOT_ID`` where a vector stands.
        slots: For each prompt int64 [its slots, 2]: kind and row of each vector, in order (``SoftTokens.forward``).
        answers: Token ids of each answer, one or more.

    Raises:
        RequestError: If a prompt or an answer is empty, or slots and vectors do not agree.
    """

    prompts: Sequence[Sequence[int]]
    slots: Sequence[NDArray[np.int64]]
    answers: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        for place, (prompt, slots, answer) in enumerate(zip(self.prompts, self.slots, self.answers, strict=True)):
            if not len(prompt) or not len(answer):
                raise RequestError(f"row {place} has an empty prompt or answer", "give each at least one token")
            if SLOT_ID in answer:
                raise RequestError(f"the answer of row {place} has a slot", "answer with words alone")
            asked = sum(token == SLOT_ID for token in prompt)
            if slots.shape != (asked, 2):
                raise RequestError(f"prompt {place} has {asked} slots and {len(slots)} vectors", "name one for each")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.prompts)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its answer; 0 without rows."""
        return max(
            (len(prompt) + len(answer) for prompt, answer in zip(self.prompts, self.answers, strict=True)), default=0
        )


class AnswerBatches:
    """Shuffled batches of rows of similar length; every row once per epoch.

    Args:
        rows: What is learnt.
        batch: Rows per optimiser step.
        seed: With the epoch, decides the order; nothing else is remembered.
        micro_batch: Most rows computed at once; 0 is the whole batch.
    """

    def __init__(self, rows: Rows, batch: int, seed: int, micro_batch: int = 0) -> None:
        answers = np.array([len(answer) for answer in rows.answers], np.int64)
        # The last token of an answer is never read: nothing follows it.
        self._read = np.array([len(prompt) for prompt in rows.prompts], np.int64) + answers - 1
        self._answer = answers
        self._tokens = _flat(chain(prompt, answer) for prompt, answer in zip(rows.prompts, rows.answers, strict=True))
        self._start = np.cumsum(self._read + 1) - self._read - 1
        self._slots = rows.slots
        self._batch, self._seed, self._micro_batch = batch, seed, micro_batch or batch

    def __len__(self) -> int:
        """Optimiser steps per epoch."""
        return math.ceil(len(self._read) / self._batch)

    def epoch(self, number: int) -> Iterator[Batch | list[Batch]]:
        """The batches of one epoch, what ``AnswerLoss`` takes, each with its number of answer tokens."""
        rng = np.random.default_rng([self._seed, number])
        for chosen in of_similar_length(self._read, self._batch, _POOL_BATCHES, rng):
            parts = [
                self.of(chosen[start : start + self._micro_batch]) for start in range(0, len(chosen), self._micro_batch)
            ]
            yield parts if len(parts) > 1 else parts[0]

    def of(self, chosen: NDArray[np.int64]) -> Batch:
        """The rows with these numbers as one batch, padded on the right, where causal attention does not look."""
        read, start = self._read[chosen, None], self._start[chosen, None]
        column = np.arange(read.max())
        real = column < read
        index = np.where(real, start + column, 0)
        ids = np.where(real, self._tokens[index], 0)
        following = np.where(real, self._tokens[np.where(real, index + 1, 0)], 0)
        learnt = real & (column >= read - self._answer[chosen, None])
        slots = np.concatenate([self._slots[row] for row in chosen])
        return tuple(map(torch.from_numpy, (ids, slots, following, learnt))), int(learnt.sum())


class AnswerLoss(nn.Module):
    """Mean cross-entropy of the answers' tokens over the whole vocabulary.

    Registers what is trained, the adapter and the maps of the soft tokens, and nothing else: optimiser and checkpoint
    hold no frozen weight. The model follows between training and evaluation all the same.

    Args:
        model: With its adapter.
        tokens: Makes the vectors that stand in for slots; None where no prompt has one.
    """

    def __init__(self, model: LocalModel, tokens: SoftTokens | None) -> None:
        super().__init__()
        # A parameter's name may not have dots.
        self.adapter = nn.ParameterDict({name.replace(".", "/"): w for name, w in adapter.parameters(model).items()})
        self.tokens = tokens
        self._model = model  # a LocalModel is no nn.Module, so that nothing of it is registered

    def forward(self, ids: Tensor, slots: Tensor, following: Tensor, learnt: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            ids: int64 [rows, time], padded on the right; ``SLOT_ID`` where a vector stands.
            slots: int64 [s, 2], kind and row of each of these vectors, row by row.
            following: int64 [rows, time], the token after each.
            learnt: bool [rows, time], whether that token is of the answer. Logits are computed there alone.
        """
        model = self._model.model
        soft = ids == SLOT_ID
        embedded = self._model.input_embeddings()(ids.masked_fill(soft, 0))
        if self.tokens is not None:
            embedded = embedded.masked_scatter(soft[:, :, None], self.tokens(slots).to(embedded.dtype))
        # Chosen where the head would read them: whatever a model does to logits, it does to these.
        head = model.get_output_embeddings()
        with head.register_forward_pre_hook(lambda _head, given: (given[0][learnt],)):
            logits = model(inputs_embeds=embedded, use_cache=False).logits
        return F.cross_entropy(logits.float(), following[learnt])

    def train(self, mode: bool = True) -> AnswerLoss:
        """The dropout of the adapter lies in the model, which is not registered here."""
        self._model.model.train(mode)
        return super().train(mode)


def tune(
    model: LocalModel,
    rows: Rows,
    tokens: SoftTokens | None,
    settings: TuningSettings,
    runtime: Runtime,
    validation: Validation | None,
) -> pl.DataFrame:
    """Trains an adapter on ``model`` and the maps of ``tokens``, in place, and leaves those of the best epoch.

    Args:
        model: Without an adapter, with which it answers afterwards, as its identity then says. Its own weights stay
            as they are, bit for bit.
        rows: What is learnt.
        tokens: Makes the vectors for the rows' slots; None where there are none.
        settings: Adapter and schedule.
        runtime: Seed, device (the model moves there), resume folder, progress.
        validation: Picks the epoch; model and tokens are in evaluation mode while it measures.

    Returns:
        The history, schema ``TrainingHistory``.

    Raises:
        RequestError: If there are no rows, a row is longer than the model reads or has a slot without a vector, or the
            adapter cannot be put in.
        WeftError: If the loss stops being a number.
    """
    from weft.training import loop  # noqa: PLC0415 - a single step is taken on machines without its libraries

    if not len(rows):
        raise RequestError("there is nothing to learn from", "give at least one row")
    need_room(model, rows.longest)
    if tokens is None and any(map(len, rows.slots)):
        raise RequestError("the prompts have slots and there are no vectors", "give soft tokens, or prompts of text")
    if tokens is not None:
        tokens.check(np.concatenate(rows.slots))
    fabric = loop.open_fabric(runtime)
    nn.Module.to(model.model, fabric.device)
    adapter.add(model, settings, runtime.seed)
    batches = AnswerBatches(rows, settings.batch, runtime.seed, settings.micro_batch)
    with recomputing(model, settings):
        history = loop.fit(AnswerLoss(model, tokens), batches, settings, runtime, validation, fabric)
    model.identity = replace(model.identity, adapter=adapter.digest_of(model))
    return history


def need_room(model: LocalModel, tokens: int) -> None:
    """Makes sure that the model reads so many tokens at once; beyond them it answers, and nobody knows what.

    Raises:
        RequestError: If it does not.
    """
    context = getattr(model.model.config, "max_position_embeddings", None) or math.inf
    if tokens > context:
        raise RequestError(
            f"a row has {tokens} tokens and the model reads {context}",
            "shorten the prompts (a shorter history), or use a model that reads more",
        )


@contextmanager
def recomputing(model: LocalModel, settings: TuningSettings) -> Iterator[None]:
    """As long as this is open, ``model`` keeps no activations within its layers, if ``settings.recompute`` says so.

    Of Llama-2-7B a token's activations are some 15 MB over all layers: 128 prompts of 300 tokens are more than any
    card holds, beside weights of 13 GB. A small model, or one on a CPU, trains faster when it keeps them.
    """
    large = model.model.device.type == "cuda" and model.model.num_parameters() > _LARGE
    if settings.recompute == "never" or (settings.recompute == "auto" and not large):
        yield
        return
    # Not re-entrant: re-entrant needs inputs that have gradients, and embeddings of text have none.
    model.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        model.model.gradient_checkpointing_disable()


def _flat(rows: Iterator[Iterator[int]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(rows), np.int64)
