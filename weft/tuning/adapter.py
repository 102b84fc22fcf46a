"""A LoRA adapter (Hu et al. 2022) on a frozen language model: put in, listed, written as a folder that PEFT reads."""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import nn

from weft import digest
from weft.errors import RequestError
from weft.language.local import LocalModel
from weft.models.layers import Dropout

if TYPE_CHECKING:  # pydantic's classes bring libraries that a machine with a GPU may lack
    from weft.tuning.settings import TuningSettings

_NAME = "default"  # PEFT's own
_PREFIX = "base_model.model."  # under which PEFT writes the tensors of what it wraps


def add(model: LocalModel, settings: TuningSettings, seed: int) -> None:
    """Puts untrained LoRA layers into ``model.model`` and freezes all else.

    The second matrix of each layer is zero, so that the model answers as before. Adapter weights are float32, also on
    a model of fewer bits.

    Args:
        model: What is adapted; it answers with the adapter from now on.
        settings: Rank, scale, dropout and the projections that are adapted.
        seed: Of the first matrices.

    Raises:
        RequestError: If the model has an adapter already, or lacks one of the projections.
    """
    if any(isinstance(module, LoraLayer) for module in model.model.modules()):
        raise RequestError("the model has an adapter already", "open it without one")
    linear = {name.rpartition(".")[2] for name, part in model.model.named_modules() if isinstance(part, nn.Linear)}
    if absent := sorted(set(settings.modules) - linear):
        raise RequestError(f"the model has no projection {absent[0]!r}", f"choose from {', '.join(sorted(linear))}")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.modules),
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT uses a name of transformers that has a successor
        torch.manual_seed(seed)
        get_peft_model(model.model, config)
    for part in model.model.modules():
        if isinstance(part, LoraLayer):
            part.lora_dropout[_NAME] = Dropout(settings.dropout)  # torch's own is an eighth of a step on a CPU
    model.model.eval()


def parameters(model: LocalModel) -> dict[str, nn.Parameter]:
    """The adapter's weights by name: all of the model that is trained."""
    return {name: weight for name, weight in model.model.named_parameters() if weight.requires_grad}


def digest_of(model: LocalModel) -> str:
    """What tells this adapter from another: the digest of its folder, as ``LocalModel.open(adapter=…)`` takes it.

    Raises:
        RequestError: If the model has no adapter.
    """
    with tempfile.TemporaryDirectory() as folder:
        to_folder(model, Path(folder))
        return digest.of_folder(Path(folder))


def to_folder(model: LocalModel, folder: Path) -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors``: equal files for equal adapters.

    ``peft.PeftModel.from_pretrained`` and ``LocalModel.open(adapter=…)`` read them.

    Raises:
        RequestError: If the model has no adapter.
    """
    if not hasattr(model.model, "peft_config"):
        raise RequestError("the model has no adapter", "tune it first")
    config = cast("LoraConfig", copy.copy(model.model.peft_config[_NAME]))
    # PEFT would write where the model lies on this machine.
    config.base_model_name_or_path, config.inference_mode = model.identity.model, True
    config.target_modules = sorted(config.target_modules or ())  # a set has no order
    tensors = get_peft_model_state_dict(model.model, save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    save_file(
        {_PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
