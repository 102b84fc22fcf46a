"""How much memory a language model needs to answer, told before any weight is read.

The parameters are counted on the model itself, built without memory by the code that loads it. The rest are formulas:

- keys and values: 2 × layers × key heads × head width × tokens × rows;
- while reading, the widest moment of one layer: the residual stream, its normed copy, queries, keys, values and
  attention, and twice the inner width of the feed-forward layer, for each token, and the logits of one token per row.

What the training of an adapter keeps is no formula: it depends on the adapted projections, on dropout and on what is
computed again. ``benchmarks/cit_rec_shapes.py`` traces it.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch
from transformers import AutoConfig, PretrainedConfig

from weft.errors import RequestError, WeftError
from weft.language import loading

GIB = 2**30
_RESERVE = 0.05  # of the free memory: allocators round up

# The models of the papers, as far as their shape goes, so that an estimate needs no download. The first Qwen-7B runs
# code of its own; Qwen2 is the same family with the same number of layers and the same width.
SHAPES: dict[str, dict[str, object]] = {
    "meta-llama/Llama-2-7b-hf": {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
    },
    "Qwen/Qwen-7B-Chat": {
        "model_type": "qwen2",
        "vocab_size": 151_936,
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 8192,
    },
    "mistralai/Mistral-7B-Instruct-v0.3": {
        "model_type": "mistral",
        "vocab_size": 32_768,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32_768,
        "sliding_window": None,
    },
    "meta-llama/Llama-3.1-8B-Instruct": {
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
    },
}


@dataclass(frozen=True)
class Estimate:
    """Bytes that a model needs.

    Attributes:
        parameters: Number of parameters.
        weights: Bytes of the weights.
        cache: Bytes of keys and values of one batch.
        activations: Bytes of one batch while it is read.
    """

    parameters: int
    weights: int
    cache: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weights + self.cache + self.activations


def shape(name: str) -> PretrainedConfig:
    """The configuration of a model of the papers, from the table on this page.

    Raises:
        RequestError: If the table has no such model.
    """
    if name not in SHAPES:
        raise RequestError(f"the shape of {name} is not known", f"known shapes: {', '.join(SHAPES)}")
    values = dict(SHAPES[name])
    return AutoConfig.for_model(str(values.pop("model_type")), tie_word_embeddings=False, **values)


def estimate(config: PretrainedConfig, dtype: torch.dtype, batch: int, tokens: int) -> Estimate:
    """What ``batch`` rows of ``tokens`` tokens take at once, prompt and answer together.

    Args:
        config: From ``shape`` or ``loading.read_config``.
        dtype: Type of weights, cache and activations.
        batch: Rows at once.
        tokens: Tokens of a row.
    """
    parameters = sum(weight.numel() for weight in loading.build(config, dtype).parameters())
    size = dtype.itemsize
    text = config.get_text_config()
    layers, width = text.num_hidden_layers, text.hidden_size
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or width // heads
    keys = (getattr(text, "num_key_value_heads", None) or heads) * head
    inner = getattr(text, "intermediate_size", None) or 4 * width
    layer = (2 * width + 2 * heads * head + 2 * keys + 2 * inner) * batch * tokens * size
    logits = batch * text.vocab_size * 4
    return Estimate(parameters, parameters * size, 2 * layers * keys * batch * tokens * size, layer + logits)


def free(device: torch.device) -> int:
    """Bytes that can still be had on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def refuse_unless_fits(name: str, needed: Estimate, available: int) -> None:
    """Does nothing if the model fits.

    Raises:
        WeftError: If not; it says how much is needed and for what, how much there is, and what can be done.
    """
    if needed.total <= available * (1 - _RESERVE):
        return
    parts = {"weights": needed.weights, "cache": needed.cache, "activations": needed.activations}
    spelled = ", ".join(f"{part} {size / GIB:.1f}" for part, size in parts.items())
    raise WeftError(
        f"{name} needs {needed.total / GIB:.1f} GiB ({spelled}) and {available / GIB:.1f} GiB are free",
        "take a smaller batch, bfloat16, a profile with smaller models, or an endpoint",
    )
