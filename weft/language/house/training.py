"""Training of the house language model: a Llama from random weights to a standard model folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from weft.data.world import corpus
from weft.data.world.works import works
from weft.language.house.cloze import cloze, recital
from weft.language.house.reading import UNLABELLED, Reading, lessons
from weft.language.house.settings import HouseLanguageSettings
from weft.language.house.tokenizer import learn_tokenizer
from weft.training.loop import Validation, fit, open_fabric
from weft.training.runtime import Runtime


class NextToken(nn.Module):
    """Mean cross-entropy of the tokens that are labelled."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch; logits are computed where a label follows, and nowhere else.

        Args:
            ids: int64 [texts, time], padded on the right, where causal attention does not look.
            labels: int64 [texts, time], ``ids`` or ``UNLABELLED``.
        """
        wanted = labels[:, 1:]
        learnt = wanted != UNLABELLED
        states = self.model.model(ids, use_cache=False).last_hidden_state[:, :-1][learnt]
        return F.cross_entropy(self.model.lm_head(states), wanted[learnt])


_CONTEXT = 2_048
"""Tokens of the longest prompt: lists of foreign titles take many more tokens than the world's own."""


def train(
    folder: Path, settings: HouseLanguageSettings, runtime: Runtime, catalogue: Sequence[str] = ()
) -> pl.DataFrame:
    """Trains until unseen sentences and answers alike carry the right facts, and writes ``folder``.

    What decides is the smallest of three shares: unseen sentences that are continued with the right mood, and answers
    that name the right mood, and the right theme.

    Args:
        folder: Receives ``config.json``, ``model.safetensors``, ``tokenizer.json`` and what else transformers writes.
        settings: Size, schedule and threshold.
        runtime: Seed, device, resume folder, progress.
        catalogue: Texts of a catalogue that are learnt as well. They are untrusted: bounded, and never more than text.

    Returns:
        The history, schema ``TrainingHistory``, with the metric ``cloze``.
    """
    fabric = open_fabric(runtime)
    world = works(settings.works, settings.world)
    texts = lessons(settings, catalogue, runtime.seed, epoch=1)  # epoch 0 leaves works out
    tokenizer = learn_tokenizer((f"{text.read} {text.learnt}" for text in texts), settings.vocabulary)
    model = build(settings, tokenizer, runtime.seed)
    reading = Reading(tokenizer, settings, catalogue, runtime.seed)

    def known() -> float:
        return min(cloze(model, tokenizer, world, corpus.STOPPING), *recital(model, tokenizer, world).values())

    validation = Validation("cloze", known, enough=settings.threshold)
    history = fit(NextToken(model), reading, settings, runtime, validation, fabric)
    model.cpu().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return history


def build(settings: HouseLanguageSettings, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The untrained model, from the seed alone."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=settings.feedforward,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=max(_CONTEXT, settings.length),
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
