"""Tiny language models: random weights, two architectures, a tokenizer learnt from a few sentences."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SENTENCES = [
    "A quiet film about the sea and those who live by it.",
    "A loud film about a war that nobody won. Would you like it? Yes or No.",
    "Tell me about the lighthouse keeper, a slow and gentle story.",
    "Taken so far: Harbour; Winter Sun. What fits best? Yes, No, Perhaps.",
    "user assistant system \n Reply with Yes or No. No, indeed.",
] * 4

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
SPECIAL = {
    "llama": ["<pad>", "<s>", "</s>"],
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"],
}


def tiny_tokenizer(kind: str, *, chat: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with the special tokens and the chat template of ``llama`` or ``qwen2``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_tokens([AddedToken(text, special=text != "<think>", normalized=False) for text in SPECIAL[kind]])
    if kind == "llama":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
        names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "chat_template": LLAMA}
    else:
        names = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>", "chat_template": CHATML}
    if not chat:
        del names["chat_template"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def tiny_model(kind: str, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> PreTrainedModel:
    """Two layers of width 32 with two heads of keys for four of queries."""
    torch.manual_seed(seed)
    config, architecture = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[kind]
    model = architecture(
        config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            initializer_range=0.3,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # What is drawn and what is not is for the caller to say, not for the folder; transformers' server wants it here.
    model.generation_config.do_sample = True
    return model.eval()


def tiny_folder(folder: Path, kind: str, *, chat: bool = True, seed: int = 0) -> Path:
    """A model folder as transformers writes it."""
    tokenizer = tiny_tokenizer(kind, chat=chat)
    tiny_model(kind, tokenizer, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompts_with_prefixes(seed: int = 0) -> list[list[int]]:
    """Three groups that begin alike, of different lengths, and prompts of their own, in no order."""
    rng = np.random.default_rng(seed)
    drawn = []
    for shared, members in ((40, 7), (25, 3), (9, 4)):
        head = rng.integers(0, 300, shared).tolist()
        drawn += [head + rng.integers(0, 300, rng.integers(1, 30)).tolist() for _ in range(members)]
    drawn += [rng.integers(0, 300, rng.integers(1, 60)).tolist() for _ in range(5)]
    return [drawn[place] for place in rng.permutation(len(drawn))]


@pytest.fixture(scope="session", params=["llama", "qwen2"])
def model_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of either architecture."""
    return tiny_folder(tmp_path_factory.mktemp(request.param) / f"tiny-{request.param}", request.param)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose template knows no system turn."""
    return tiny_folder(tmp_path_factory.mktemp("llama") / "tiny-llama", "llama")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2 with the template of ChatML."""
    return tiny_folder(tmp_path_factory.mktemp("qwen2") / "tiny-qwen2", "qwen2")
