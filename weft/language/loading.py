"""Opens a causal language model: a folder on disk or a hub name, with a LoRA adapter or without.

Only safetensors are read and no code that comes with a model is run. The house model of a few hundred thousand
parameters and a 7 B model come through the same functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from weft.errors import RequestError

Dtype = Literal["auto", "float32", "bfloat16"]
ATTENTION = "sdpa"


def pick_device(device: str) -> torch.device:
    """The device meant by ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        RequestError: If a GPU is asked for and torch sees none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise RequestError(f"device {device!r} is asked for, but torch sees none", "use the device cpu")
    return chosen


def pick_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """The type of weights meant by ``dtype``; ``auto`` is bfloat16 on a GPU that has it and float32 elsewhere."""
    if dtype == "auto":
        halves = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if halves else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]


def read_config(name: str, revision: str = "") -> PretrainedConfig:
    """The configuration of a model folder or hub name, without its weights.

    Raises:
        RequestError: If there is none, or the model would have to run code of its own.
    """
    return _opened(name, lambda: AutoConfig.from_pretrained(name, **_source(revision)))


def read_tokenizer(name: str, revision: str = "") -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder or hub name.

    Raises:
        RequestError: If there is none, or none of the ``tokenizers`` library: the others cannot keep text from
            becoming special tokens.
    """
    tokenizer = _opened(name, lambda: AutoTokenizer.from_pretrained(name, **_source(revision)))
    if not getattr(tokenizer, "is_fast", False):
        raise RequestError(f"{name} has no tokenizer.json", "use a model with a fast tokenizer")
    return tokenizer


def read_model(
    name: str,
    revision: str = "",
    adapter: Path | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """The model with its weights on ``device``, in evaluation mode.

    Args:
        name: Folder or hub name.
        revision: Branch, tag or commit of a hub name.
        adapter: PEFT folder; its LoRA layers are put into the model, unmerged, so that bfloat16 loses nothing.
        device: Where the weights go straight to.
        dtype: Type of the weights.

    Raises:
        RequestError: If model or adapter cannot be read as safetensors.
    """
    device = device or torch.device("cpu")
    model = _opened(
        name,
        lambda: AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            use_safetensors=True,
            attn_implementation=ATTENTION,
            device_map={"": device},
            **_source(revision),
        ),
    )
    if adapter is not None:
        if not (adapter / "adapter_model.safetensors").is_file():
            raise RequestError(f"{adapter} holds no adapter_model.safetensors", "give a folder that PEFT wrote")
        tuned = _opened(str(adapter), lambda: PeftModel.from_pretrained(model, str(adapter)))
        model = tuned.get_base_model()
    return model.eval()


def build(
    config: PretrainedConfig, dtype: torch.dtype = torch.float32, device: torch.device | str = "meta"
) -> PreTrainedModel:
    """The model of ``config`` with random weights; on the meta device with none, to see what it is."""
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=ATTENTION, trust_remote_code=False
        )
    return model.eval()


def _source(revision: str) -> dict[str, Any]:
    return {"trust_remote_code": False, **({"revision": revision} if revision else {})}


def _opened(name: str, read: Any) -> Any:
    try:
        return read()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(
            f"{name} cannot be opened as a causal language model: {first}",
            "give a folder with config.json, model.safetensors and tokenizer.json, or a name on the model hub",
        ) from error
