"""The house image-text model: a small CLIP trained from scratch, written as the folder that open_clip opens.

It learns from captioned drawings that are in no catalogue, as CLIP learnt from pictures of the web, and only then,
if at all, from a catalogue's own pictures and texts: these alone give it no reason to see what no text mentions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import polars as pl
import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from weft.data.world.drawings import captioned
from weft.errors import RequestError
from weft.schemas import TrainingHistory
from weft.training.loop import Validation, fit, open_fabric
from weft.training.runtime import Runtime
from weft.training.tensor_batches import TensorBatches
from weft.vision.pictures import open_picture
from weft.vision.settings import HouseVisionSettings

MEAN, STD = 0.5, 0.25
"""Of every colour channel, in [0, 1]."""

HELD_OUT = 10
"""One pair of so many is held out and picks the epoch."""

FEWEST = 20
"""Pairs that can be learnt from at all."""

_PAD, _BEGIN, _END = "<pad>", "<begin>", "<end>"
_PREPROCESS = {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


def train(
    folder: Path, settings: HouseVisionSettings, runtime: Runtime, catalogue: Sequence[tuple[bytes, str]] = ()
) -> pl.DataFrame:
    """Trains the model and writes it into ``folder``: configuration, safetensors and tokeniser files.

    Args:
        folder: Where the model goes; made if it is not there.
        settings: Sizes and schedule.
        runtime: Device, threads, seed, resume folder, progress. On one CPU thread equal seeds give equal bytes.
        catalogue: (picture, text) pairs to learn from after the drawings. A picture that cannot be read is left out.
            Each takes 3 · side² bytes of memory.

    Returns:
        The history (schema ``TrainingHistory``): recall@10 of a held-out text's own picture among the held-out ones.
        Epochs on the catalogue follow those on the drawings.

    Raises:
        RequestError: If there is nothing, or too little, to learn from.
    """
    world = list(captioned(settings.drawings, runtime.seed).iter_rows())
    phases = [("world", world, settings.epochs), ("catalogue", list(catalogue), settings.catalogue_epochs)]
    phases = [phase for phase in phases if phase[1]]
    if not phases:
        raise RequestError("there are no drawings and no catalogue to learn from", "set drawings to 3000")
    tokenizer = _tokenizer([text for _, rows, _ in phases for _, text in rows], settings)
    config = _config(tokenizer, settings)
    fabric = open_fabric(runtime)
    torch.manual_seed(runtime.seed)
    module = _Contrast(open_clip.CLIP(**config))
    histories: list[pl.DataFrame] = []
    for name, rows, epochs in phases:
        pairs = _read(name, rows, tokenizer, settings)
        histories.append(_learn(module, pairs, settings.model_copy(update={"epochs": epochs}), runtime, name, fabric))
    _write(folder, module.clip, config, tokenizer)
    return _joined(histories)


def _learn(
    module: _Contrast, pairs: _Pairs, settings: HouseVisionSettings, runtime: Runtime, name: str, fabric: Fabric
) -> pl.DataFrame:
    apart = np.arange(len(pairs)) % HELD_OUT == 0
    training, held_out = pairs.where(~apart), pairs.where(apart)
    work = runtime.work / name if runtime.work else None
    validation = Validation("recall@10", lambda: _recall(module, held_out, fabric.device))
    batches = TensorBatches(
        (training.pictures, training.tokens, training.same_picture, training.same_text),
        settings.batch,
        runtime.seed,
        whole=True,
    )
    return fit(module, batches, settings, replace(runtime, work=work), validation, fabric)


@dataclass(frozen=True)
class _Pairs:
    """Pictures with their texts, ready for the model.

    Attributes:
        pictures: uint8 [n, 3, side, side].
        tokens: int64 [n, context].
        same_picture: int64 [n], equal where the bytes of the file are.
        same_text: int64 [n], equal where the texts are.
    """

    pictures: Tensor
    tokens: Tensor
    same_picture: Tensor
    same_text: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def where(self, mask: np.ndarray) -> _Pairs:
        rows = torch.from_numpy(np.flatnonzero(mask))
        return _Pairs(*(part[rows] for part in (self.pictures, self.tokens, self.same_picture, self.same_text)))


class _Contrast(nn.Module):
    """The symmetric contrastive loss of CLIP (Radford et al. 2021, figure 3) around the model.

    A pair with the same picture or the same text as another is no negative of it.
    """

    def __init__(self, clip: open_clip.CLIP) -> None:
        super().__init__()
        self.clip = clip
        self._loss = open_clip.ClipLoss()

    def forward(self, pictures: Tensor, tokens: Tensor, same_picture: Tensor, same_text: Tensor) -> Tensor:
        scale = self.clip.logit_scale.clamp(max=np.log(100)).exp()
        by_picture, by_text = self._loss.get_logits(self.of_pictures(pictures), self.of_texts(tokens), scale)
        twins = (same_picture[:, None] == same_picture) | (same_text[:, None] == same_text)
        twins.fill_diagonal_(False)
        own = torch.arange(len(tokens), device=tokens.device)
        losses = [
            nn.functional.cross_entropy(logits.masked_fill(twins, -torch.inf), own) for logits in (by_picture, by_text)
        ]
        return (losses[0] + losses[1]) / 2

    def of_pictures(self, pictures: Tensor) -> Tensor:
        """Unit vectors of uint8 [b, 3, side, side]."""
        return self.clip.encode_image((pictures.float() / 255 - MEAN) / STD, normalize=True)

    def of_texts(self, tokens: Tensor) -> Tensor:
        """Unit vectors of int64 [b, context]."""
        return self.clip.encode_text(tokens, normalize=True)


def _recall(module: _Contrast, pairs: _Pairs, device: torch.device) -> float:
    """Share of texts whose own picture is among the ten nearest; pictures that are equal to it do not stand above."""
    with torch.inference_mode():
        pictures = torch.cat([module.of_pictures(part.to(device)) for part in pairs.pictures.split(256)])
        texts = torch.cat([module.of_texts(part.to(device)) for part in pairs.tokens.split(256)])
        scores = texts @ pictures.T
        better = (scores > scores.diagonal()[:, None] + 1e-6).sum(dim=1)
    return (better < 10).double().mean().item()


def _read(
    name: str, rows: list[tuple[bytes, str]], tokenizer: PreTrainedTokenizerFast, settings: HouseVisionSettings
) -> _Pairs:
    """Decodes and tokenises pairs, without those whose picture cannot be read."""
    # Without mean and deviation the tensors are pixels, which fit a quarter of the memory.
    prepare = open_clip.image_transform(
        settings.side, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode="squash", interpolation="bicubic"
    )
    pictures, kept = [], []
    for content, text in rows:
        picture = open_picture(content)
        if picture is not None:
            pictures.append((prepare(picture) * 255).round().to(torch.uint8))
            kept.append((content, text))
    if len(kept) < FEWEST:
        raise RequestError(f"the {name} has {len(kept)} readable pictures with a text", f"give at least {FEWEST}")
    contents, texts = zip(*kept, strict=True)
    tokens = tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=settings.context, return_tensors="pt"
    ).input_ids
    return _Pairs(torch.stack(pictures), tokens, _groups(contents), _groups(texts))


def _groups(values: Sequence[bytes] | Sequence[str]) -> Tensor:
    """int64 [n], equal where the values are."""
    numbers: dict[bytes | str, int] = {}
    return torch.tensor([numbers.setdefault(value, len(numbers)) for value in values])


def _tokenizer(texts: list[str], settings: HouseVisionSettings) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the training texts, in lower case; digits stay single, so that numbers take no room."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[_PAD, _BEGIN, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    numbers = [(token, tokenizer.token_to_id(token)) for token in (_BEGIN, _END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{_BEGIN} $A {_END}", special_tokens=numbers)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        bos_token=_BEGIN,
        eos_token=_END,
        model_max_length=settings.context,
    )


def _config(tokenizer: PreTrainedTokenizerFast, settings: HouseVisionSettings) -> dict[str, Any]:
    """Both towers in the words of open_clip. A ResNet sees colours and textures in fewer steps than a small ViT."""
    return {
        "embed_dim": settings.width,
        "vision_cfg": {
            "image_size": settings.side,
            "layers": [1, 1, 1, 1],
            "width": settings.vision_width,
            "head_width": 32,
        },
        "text_cfg": {
            "context_length": settings.context,
            "vocab_size": len(tokenizer),
            "hf_tokenizer_name": "house",  # any name: open_clip takes the tokeniser from the folder
            "width": settings.width,
            "heads": settings.width // 16,
            "layers": settings.layers,
            "pool_type": "eos",
            "eos_id": tokenizer.eos_token_id,
            "pad_id": tokenizer.pad_token_id,
        },
    }


def _write(folder: Path, clip: open_clip.CLIP, config: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    whole = {"model_cfg": config, "preprocess_cfg": _PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(whole, indent=1) + "\n")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in clip.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def _joined(histories: list[pl.DataFrame]) -> pl.DataFrame:
    """One history: epochs are counted through, and only the last phase's best epoch is what was kept."""
    parts, before = [], 0
    for history in histories:
        last = history is histories[-1]
        parts.append(history.with_columns(pl.col("epoch") + before, best=pl.col("best") & last))
        before += len(history)
    return TrainingHistory.cast(pl.concat(parts))
