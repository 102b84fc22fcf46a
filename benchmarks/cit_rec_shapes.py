"""CIT-Rec in the shapes of the paper: what every module takes, told without a weight; and one real step on a GPU.

    python -m benchmarks.cit_rec_shapes
    python -m benchmarks.cit_rec_shapes --gpu --out cit_rec_shapes.json

The modules of the profile ``paper`` are built on the meta device, where a tensor has a shape and no memory: nothing is
downloaded and nothing is computed. With ``--gpu`` the language model is built with random weights instead, and steps of
the profile's batch and the scoring of as many prompts are timed. That part needs torch, transformers, peft, pydantic
and yaml, and none of the house's other libraries.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig

from benchmarks.choice_scoring import timed
from benchmarks.gpu_language import words
from resources import profiles
from weft.language import choices, loading, memory
from weft.language.engine import Identity
from weft.language.local import LocalModel
from weft.language.tokens import SLOT_ID
from weft.tuning import adapter
from weft.tuning.answers import AnswerBatches, AnswerLoss, Rows, recomputing
from weft.tuning.soft_tokens import SoftTokens, scale_of

ITEMS, USERS = 1_682, 943  # MovieLens-100K
STATE, IMAGE = 64, 512  # widths of a user's state and of CLIP ViT-B/16's vectors
HISTORY_AND_TARGET = 11
_ANSWERS = (10, 11)
_ADAM = 16  # bytes of a trained number: itself, its gradient and two moments in float32


def settings_of(name: str) -> tuple[str, Any]:
    """The language model that the profile ``paper`` tunes for a system, and how.

    The profile's own fields, under the names of ``TuningSettings``, whose class needs more libraries.
    """
    profile = profiles.load("paper")
    spec = profile.tuning[name]
    fields = {"micro_batch": 0, "recompute": "auto", **spec.model_dump()}
    return profile.language_model(spec.model).name, SimpleNamespace(**fields)


def adapted(config: PretrainedConfig, settings: Any, device: torch.device, dtype: torch.dtype) -> LocalModel:
    """The language model with an untrained adapter; on the meta device without any number."""
    torch.manual_seed(0)
    model = LocalModel(loading.build(config, dtype, device), words(config.vocab_size), Identity("shape"))
    with device:
        adapter.add(model, settings, seed=0)
    return model


def soft_tokens(model: LocalModel, item_width: int, device: torch.device) -> SoftTokens:
    """Maps of user states and aligned items into the model's embeddings, with random tables."""
    scale = 1.0 if device.type == "meta" else scale_of(model.input_embeddings())
    rng = np.random.default_rng(0)
    widths = {"user": (USERS, STATE), "item": (ITEMS + 1, item_width)}
    tables = {kind: rng.normal(size=size).astype(np.float32) for kind, size in widths.items()}
    with device:
        return SoftTokens(tables, model.width, scale).to(device)


def modules() -> dict[str, nn.Module]:
    """Every module of CIT-Rec but the language model and its tokens, in the paper's shapes, on the meta device."""
    import open_clip  # noqa: PLC0415 - these are not needed for a step on a GPU

    from weft.alignment.heads import Heads  # noqa: PLC0415
    from weft.alignment.settings import AlignmentSettings  # noqa: PLC0415
    from weft.models.sasrec import SASRecNetwork  # noqa: PLC0415
    from weft.models.settings import SASRecSettings  # noqa: PLC0415

    profile = profiles.load("paper")
    text = memory.shape(profile.language_model(profile.text_encoder).name).hidden_size
    behaviour = SASRecSettings(**{**SASRecSettings.for_pairs, "width": STATE})
    with torch.device("meta"):
        return {
            "sequential recommender (SASRec)": SASRecNetwork(behaviour, ITEMS),
            f"image encoder ({profile.image_text_model.name})": open_clip.create_model(
                profile.image_text_model.name, device="meta"
            ),
            "alignment heads": Heads(torch.empty(ITEMS, IMAGE), torch.empty(ITEMS, text), AlignmentSettings()),
        }


def kept_bytes(model: LocalModel, settings: Any, tokens: int) -> tuple[int, int]:
    """Bytes that one row keeps for its backward pass, all layers' activations kept; and where they are recomputed.

    Traced on the meta device without mixed precision and with attention in its parts: a bound from above.
    """
    given = torch.empty(1, tokens, model.width, device="meta", dtype=model.model.dtype, requires_grad=True)
    known = {_place(weight) for weight in model.model.parameters()}
    found = []
    for recompute in ("never", "always"):
        # A cache that is handed in keeps transformers from looking into positions, which have no values here.
        cache = DynamicCache(config=model.model.config)
        kept: dict[int, Tensor] = {}
        settings = SimpleNamespace(**{**vars(settings), "recompute": recompute})
        noting = torch.autograd.graph.saved_tensors_hooks(partial(_note, kept), lambda tensor: tensor)
        with recomputing(model, settings), noting:
            model.model.train()(inputs_embeds=given, use_cache=False, logits_to_keep=1, past_key_values=cache)
        found.append(sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in known))
    whole, between = found
    return whole, between + whole // model.model.config.num_hidden_layers


def told(tokens: int) -> dict[str, Any]:
    """Parameters, trained parameters and bytes of every module, and bytes of a row of ``tokens`` tokens."""
    name, settings = settings_of("cit_rec")
    meta = torch.device("meta")
    built = modules()
    model = adapted(memory.shape(name), settings, meta, torch.bfloat16)
    built |= {"maps of the soft tokens": soft_tokens(model, 2 * IMAGE, meta)}
    parts = {part: _counted(list(module.parameters()), trained="encoder" not in part) for part, module in built.items()}
    lora = list(adapter.parameters(model).values())
    frozen = [weight for weight in model.model.parameters() if not weight.requires_grad]
    parts |= {"LoRA adapter": _counted(lora, trained=True), f"language model ({name})": _counted(frozen, trained=False)}
    whole, recomputed = kept_bytes(model, settings, tokens)
    rows = settings.micro_batch or settings.batch
    tuned = ("language model", "LoRA", "maps")
    step = sum(part["bytes"] for key, part in parts.items() if key.startswith(tuned))
    return {
        "parts": parts,
        "tokens_of_a_row": tokens,
        "rows_at_once": rows,
        "row_gib": whole / memory.GIB,
        "row_recomputed_gib": recomputed / memory.GIB,
        "step_gib": (step + rows * whole) / memory.GIB,
        "step_recomputed_gib": (step + rows * recomputed) / memory.GIB,
    }


def rows_of(count: int, tokens: int, vocabulary: int) -> Rows:
    """Random prompts with one user and eleven items as vectors among their ``tokens`` tokens."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(20, vocabulary, (count, tokens))
    prompts[:, 1 : 2 * (1 + HISTORY_AND_TARGET) : 2] = SLOT_ID
    kinds = np.array([0] + [1] * HISTORY_AND_TARGET)
    slots = [np.column_stack([kinds, rng.integers(0, USERS, len(kinds))]) for _ in range(count)]
    return Rows(prompts.tolist(), slots, [(int(rng.choice(_ANSWERS)),) for _ in range(count)])


def step(config: PretrainedConfig, settings: Any, device: torch.device, rows: Rows, repeats: int) -> dict[str, Any]:
    """Optimiser steps on all ``rows``, then their scoring, with random weights; seconds are medians."""
    dtype = loading.pick_dtype("auto", device)
    model = adapted(config, settings, device, dtype)
    tokens = soft_tokens(model, 2 * IMAGE, device)
    loss = AnswerLoss(model, tokens).train()
    optimiser = torch.optim.AdamW(loss.parameters(), lr=settings.learning_rate, fused=True)
    batches = AnswerBatches(rows, len(rows), 0, settings.micro_batch)

    def learn() -> float:
        batch = next(iter(batches.epoch(0)))
        parts = batch if isinstance(batch, list) else [batch]
        total = 0.0
        for part, count in parts:
            with torch.autocast(device.type, dtype, enabled=dtype == torch.bfloat16):
                value = loss(*(tensor.to(device) for tensor in part)) * (count / len(rows))
            value.backward()
            total += value.item()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return total

    with recomputing(model, settings):
        losses, seconds = zip(*[timed(learn)[::-1] for _ in range(1 + repeats)], strict=True)
    peak = torch.cuda.max_memory_allocated() / memory.GIB if device.type == "cuda" else None
    loss.eval()
    vectors = [tokens.vectors(slots) for slots in rows.slots]
    wordings = [[[answer]] for answer in _ANSWERS]

    def score() -> Any:
        return choices.log_probabilities(model.model, rows.prompts, wordings, vectors=vectors)

    scored = [timed(score)[0] for _ in range(1 + repeats)]
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "rows": len(rows),
        "tokens_of_a_row": len(rows.prompts[0]),
        "losses": losses,
        "step_seconds": median(seconds[1:]),
        "trained_tokens_per_second": sum(map(len, rows.prompts)) / median(seconds[1:]),
        "peak_gib": peak,
        "scored_prompts_per_second": len(rows) / median(scored[1:]),
    }


def main() -> None:
    """Prints what every module takes, and with a GPU one step; keeps it where ``--out`` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="take a real step, where there is a GPU")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a prompt")
    parser.add_argument("--out", type=Path, help="file for the result")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "date": time.strftime("%Y-%m-%d"),
        }
    }
    if not options.gpu:
        result |= told(options.tokens)
        for name, part in result["parts"].items():
            gib = part["bytes"] / memory.GIB
            print(f"{name:48}{part['parameters']:>14,} parameters {part['trained']:>11,} trained {gib:7.2f} GiB")
        print(
            f"GiB of activations of a row of {options.tokens} tokens, and of a step of {result['rows_at_once']} rows:"
        )
        print(f"  all kept {result['row_gib']:.2f} and {result['step_gib']:.1f}", end="; ")
        print(f"recomputed {result['row_recomputed_gib']:.2f} and {result['step_recomputed_gib']:.1f}")
    elif not torch.cuda.is_available():
        print("there is no GPU here: no step was taken")
        return
    else:
        name, settings = settings_of("cit_rec")
        rows = rows_of(settings.batch, options.tokens, memory.shape(name).vocab_size)
        result["step"] = step(memory.shape(name), settings, torch.device("cuda"), rows, repeats=3)
        print(json.dumps(result["step"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def _counted(weights: list[nn.Parameter], *, trained: bool) -> dict[str, int]:
    """Of a module that is trained: with gradient and optimiser."""
    parameters = sum(weight.numel() for weight in weights)
    size = parameters * _ADAM if trained else sum(weight.numel() * weight.element_size() for weight in weights)
    return {"parameters": parameters, "trained": parameters * trained, "bytes": size}


def _note(kept: dict[int, Tensor], tensor: Tensor) -> Tensor:
    kept.setdefault(_place(tensor), tensor)
    return tensor


def _place(tensor: Tensor) -> int:
    """The same for all views of one tensor; on the meta device none has an address."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - nothing public tells


if __name__ == "__main__":
    main()
