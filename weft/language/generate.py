"""Answers from a local model, batch by batch, each independent of what else is in its batch.

The library's own decoding loop does the work. Two parts are ours: a draw that depends on the seed and the prompt
alone, and an end at given texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    StoppingCriteria,
    StoppingCriteriaList,
)

from weft.language.choices import left_padded
from weft.language.engine import Sampling


@dataclass(frozen=True)
class Written:
    """What a model wrote after a prompt: text without stop text or end token, tokens drawn, whether it ended itself."""

    text: str
    tokens: int
    ended: bool


@torch.inference_mode()
def write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    ends: Sequence[int],
) -> list[Written]:
    """One answer per prompt, all in one batch.

    Args:
        model: A causal model whose own generation settings are empty: the library mixes them in.
        tokenizer: Decodes what it writes.
        prompts: Token ids.
        sampling: Token budget, temperature, nucleus, stop texts, seed.
        ends: Token ids that end an answer.
    """
    ids, mask = left_padded(prompts, model.device)
    begin = ids.shape[1]
    stops = _StopTexts(tokenizer, sampling.stop, begin, len(prompts))
    out = cast("Any", model).generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            eos_token_id=list(ends) or None,
            pad_token_id=ends[0] if ends else 0,
        ),
        logits_processor=LogitsProcessorList([_Draw(prompts, sampling, begin)] if sampling.temperature > 0 else []),
        stopping_criteria=StoppingCriteriaList([stops] if sampling.stop else []),
    )
    rows = zip(out[:, begin:].tolist(), stops.ended, strict=True)
    return [_written(tokenizer, row, ended, sampling.stop, frozenset(ends)) for row, ended in rows]


def _written(
    tokenizer: PreTrainedTokenizerFast, row: list[int], stopped: int, stop: Sequence[str], ends: frozenset[int]
) -> Written:
    row = row[:stopped] if stopped else row
    end = next((place for place, token in enumerate(row) if token in ends), None)
    text = cut(str(tokenizer.decode(row[:end], skip_special_tokens=True)), stop)
    return Written(text, len(row) if end is None else end + 1, ended=bool(stopped) or end is not None)


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop texts."""
    return text[: min((place for end in stop if (place := text.find(end)) >= 0), default=len(text))]


class _StopTexts(StoppingCriteria):
    """Ends a row as soon as a stop text stands in it, and remembers after how many tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stop: Sequence[str], begin: int, rows: int) -> None:
        self._tokenizer, self._stop, self._begin = tokenizer, stop, begin
        # A token is at least a byte, so that a stop text that has just been completed lies in so many tokens.
        self._reach = max((len(text.encode()) for text in stop), default=0)
        self.ended = [0] * rows

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """Bool [rows]: ended by now."""
        del scores, kwargs
        written = input_ids[:, self._begin :]
        tails = self._tokenizer.batch_decode(written[:, -self._reach - 1 :], skip_special_tokens=True)
        for row, tail in enumerate(tails):
            if not self.ended[row] and any(text in tail for text in self._stop):
                self.ended[row] = written.shape[1]
        return torch.tensor([bool(ended) for ended in self.ended], device=input_ids.device)


class _Draw(LogitsProcessor):
    """Leaves one token per row: drawn at the temperature from the nucleus (Holtzman et al. 2020).

    The uniform numbers of a row come from the seed and its prompt, so that an answer is the same alone, in any batch
    and on any device, up to rounding of the probabilities.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], sampling: Sampling, begin: int) -> None:
        self._sampling, self._begin = sampling, begin
        self._uniform = torch.from_numpy(
            np.stack([uniforms(prompt, sampling.seed, sampling.max_tokens) for prompt in prompts])
        )

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, vocabulary] that are -inf but for the drawn token."""
        step = input_ids.shape[1] - self._begin
        likely = (scores.float() / self._sampling.temperature).softmax(-1)
        likely, tokens = torch.sort(likely, stable=True, descending=True)
        before = likely.double().cumsum(-1) - likely
        # The likeliest token is always in the nucleus, since nothing stands before it.
        kept = likely.double().masked_fill(before >= self._sampling.top_p, 0.0)
        reached = kept.cumsum(-1)
        wanted = self._uniform[:, step, None].to(scores.device) * reached[:, -1:]
        place = (reached <= wanted).sum(-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        only = torch.full_like(scores, -torch.inf)
        return only.scatter(1, tokens.gather(1, place), 0.0)


def uniforms(prompt: Sequence[int], seed: int, count: int) -> NDArray[np.float64]:
    """float64 [count] in [0, 1): the draws of one answer, by seed and prompt alone."""
    key = hashlib.sha256(np.array([seed, *prompt], np.int64).tobytes()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, np.uint64))).random(count)
