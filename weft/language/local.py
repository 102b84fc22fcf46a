"""A causal language model on this machine: it writes, scores given answers, and reads texts into vectors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from weft import digest
from weft.errors import RequestError
from weft.language import choices as scoring
from weft.language import loading, memory, sharing
from weft.language.engine import Answer, Identity, Prompt, Sampling
from weft.language.generate import write
from weft.language.tokens import SLOT, SLOT_ID, PromptTokens


class LocalModel:
    """A transformers model behind the words of ``weft/language/engine.py``.

    Args:
        model: A causal model in evaluation mode.
        tokenizer: Its tokenizer.
        identity: See below.
        batch_tokens: Most tokens, padding and answers included, of one batch: bounds memory.

    Attributes:
        model: The model itself, for adapters to be trained on.
        identity: What its answers are kept under; whoever trains an adapter on it names that here.
        tokenizer: Its tokenizer.
        tokens: How prompts become token ids.
        width: Length of its vectors.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        identity: Identity,
        batch_tokens: int = 16_384,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.tokens = PromptTokens(tokenizer)
        self.width = self.input_embeddings().embedding_dim
        self.identity = identity
        self._batch_tokens = batch_tokens
        self._context = int(getattr(model.config, "max_position_embeddings", 0) or 0)
        self._ends = _end_tokens(model, tokenizer)
        # A folder may bring penalties and temperatures of its own; an answer is drawn as the caller says.
        model.generation_config = GenerationConfig()

    @classmethod
    def open(
        cls,
        name: str | Path,
        *,
        revision: str = "",
        adapter: Path | str = "",
        device: str = "auto",
        dtype: loading.Dtype = "auto",
        batch_tokens: int = 16_384,
        known_as: str = "",
    ) -> Self:
        """Opens a model folder or hub name, after making sure that it fits.

        Args:
            name: Folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``, or a hub name.
            revision: Branch, tag or commit of a hub name; for a folder what its weights are known by, empty takes the
                digest of its files.
            adapter: Folder of a LoRA adapter that PEFT wrote; empty for none.
            device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
            dtype: ``auto`` is bfloat16 on a GPU that has it and float32 elsewhere.
            batch_tokens: Most tokens of one batch.
            known_as: Name that answers are kept under; empty takes the hub name, or the last part of a folder's path.

        Raises:
            RequestError: If something cannot be opened, or would have to run code of its own.
            WeftError: If weights and cache do not fit into the free memory of the device.
        """
        place = loading.pick_device(device)
        kind = loading.pick_dtype(dtype, place)
        folder = Path(name) if Path(name).is_dir() else None
        tuned = Path(adapter) if adapter else None
        commit = "" if folder else revision
        config = loading.read_config(str(name), commit)
        memory.refuse_unless_fits(
            str(name), memory.estimate(config, kind, batch=1, tokens=batch_tokens), memory.free(place)
        )
        tokenizer = loading.read_tokenizer(str(name), commit)
        model = loading.read_model(str(name), commit, tuned, place, kind)
        if folder:
            revision = revision or digest.of_folder(folder)
        else:
            revision = str(getattr(config, "_commit_hash", None) or revision)
        identity = Identity(
            model=known_as or (folder.name if folder else str(name)),
            revision=revision,
            adapter=digest.of_folder(tuned) if tuned else "",
        )
        return cls(model, tokenizer, identity, batch_tokens)

    def final(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, as the model reads them."""
        return self.tokens.prompt(prompt)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        """Answers batch by batch, longest prompts first, each with the place of its prompt.

        An answer's seconds are its share of its batch's, so that they add up. A prompt that leaves no room for
        the token budget fails by itself.
        """
        ids = [self.final(prompt) for prompt in prompts]
        fits = []
        for place, prompt_ids in enumerate(ids):
            error = self._refusal(prompt_ids, sampling.max_tokens)
            if error:
                yield place, Answer("", "failed", len(prompt_ids), 0, 0.0, error)
            else:
                fits.append(place)
        lengths = [len(ids[place]) + sampling.max_tokens for place in fits]
        for batch in sharing.by_length(lengths, self._batch_tokens):
            rows = [fits[place] for place in batch]
            begun = time.perf_counter()
            written = write(self.model, self.tokenizer, [ids[row] for row in rows], sampling, self._ends)
            seconds = (time.perf_counter() - begun) / len(rows)
            for row, one in zip(rows, written, strict=True):
                finish: Literal["stop", "length"] = "stop" if one.ended else "length"
                yield row, Answer(one.text, finish, len(ids[row]), one.tokens, seconds)

    def choice_probabilities(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        vectors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> NDArray[np.float64]:
        """Probability of each choice among the choices: float64 [n, k], rows add up to 1.

        Args:
            prompts: What is asked.
            choices: Of each choice its wordings (``("Yes", " Yes")``), whose probabilities add up. Wordings with equal
                tokens count once.
            vectors: For each prompt float32 [slots, width] that stand in for its ``SLOT`` characters, in order.

        Raises:
            RequestError: If two choices are the same tokens, a slot has no vector, or a prompt is too long.
        """
        return scoring.normalised(self.choice_log_probabilities(prompts, choices, vectors))

    def choice_log_probabilities(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        vectors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> NDArray[np.float64]:
        """Log-probability that the answer begins with each choice, of all answers there are: float64 [n, k]."""
        ids = [self.tokens.prompt(prompt) for prompt in prompts]
        wordings = [[self.tokens.answer(text) for text in choice] for choice in choices]
        longest = max((len(wording) for choice in wordings for wording in choice), default=0)
        for place, row in enumerate(ids):
            error = self._refusal(row, longest, slots=True)
            if error:
                raise RequestError(f"prompt {place}: {error}", "shorten it, or use a model that reads more")
        return scoring.log_probabilities(self.model, ids, wordings, vectors=vectors, batch_tokens=self._batch_tokens)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], max_tokens: int = 512) -> NDArray[np.float32]:
        """Vectors of texts: the mean of the last hidden states over all tokens, float32 [n, width].

        A text of more tokens than ``max_tokens`` is read in parts of about equal length, and its vector is the mean
        over the tokens of all parts: nothing is cut. A text without tokens is a row of zeros.
        """
        parts: list[list[int]] = []
        owners: list[int] = []
        for place, text in enumerate(texts):
            ids = self.tokens.text(text.replace(SLOT, " "))
            count = -(-len(ids) // min(max_tokens, self._context or max_tokens))
            cuts = [len(ids) * k // count for k in range(count + 1)] if count else []
            for a, b in pairwise(cuts):
                parts.append(ids[a:b])
                owners.append(place)
        sums = np.zeros((len(texts), self.width), np.float64)
        counts = np.zeros(len(texts))
        for rows in sharing.by_length([len(part) for part in parts], self._batch_tokens):
            padded, mask = scoring.left_padded([parts[row] for row in rows], self.model.device)
            states = self.model.base_model(input_ids=padded, use_cache=False, **scoring.where(mask)).last_hidden_state
            total = (states.float() * mask[:, :, None]).sum(1).double().cpu().numpy()
            np.add.at(sums, [owners[row] for row in rows], total)
            np.add.at(counts, [owners[row] for row in rows], [len(parts[row]) for row in rows])
        return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)

    def input_embeddings(self) -> nn.Embedding:
        """The table that turns token ids into vectors."""
        return cast("nn.Embedding", self.model.get_input_embeddings())

    def _refusal(self, ids: Sequence[int], answer: int, *, slots: bool = False) -> str:
        """Why a prompt cannot be read, or nothing."""
        if not ids:
            return "the prompt is empty"
        if not slots and SLOT_ID in ids:
            return "the prompt has a slot for a vector, and no vector can be given when text is written"
        if self._context and len(ids) + answer > self._context:
            return f"{len(ids)} tokens of prompt and {answer} of answer are more than the {self._context} it can read"
        return ""


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Tokens that end an answer: those of the folder's generation settings and the tokenizer's."""
    named = model.generation_config.eos_token_id if model.generation_config else None
    ends = named if isinstance(named, list) else [named]
    return sorted({end for end in [*ends, tokenizer.eos_token_id] if end is not None})
