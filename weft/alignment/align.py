"""Aligned item vectors: two heads are trained on the items that have picture and text, then every item is mapped."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.alignment.heads import Heads
from weft.alignment.quality import quality
from weft.alignment.settings import AlignmentSettings
from weft.schemas import AlignmentQuality, TrainingHistory
from weft.training.loop import Validation, fit, open_fabric
from weft.training.runtime import Runtime
from weft.training.tensor_batches import TensorBatches

FEWEST = 20
"""Items with picture and text that can be learnt from at all."""

_COMPARED = 2_000
"""Most items that are compared with each other for a figure: the table of cosines is that squared."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Aligned:
    """What the heads make of every item, and how they came about.

    Attributes:
        image: float32 [n, width], unit vectors; zero where there is no picture.
        text: float32 [n, width], unit vectors; zero where there is no text.
        vector: float32 [n, 2 · width] (``mean``: [n, width]), the item vector that CIT-Rec eq. 5 projects. An item
            without a picture has its text in both places, one without a text its picture.
        heads: The trained heads as named arrays.
        history: Schema ``TrainingHistory``; no rows where there was too little to learn from.
        quality: Schema ``AlignmentQuality``; no rows there either.
    """

    image: NDArray[np.float32]
    text: NDArray[np.float32]
    vector: NDArray[np.float32]
    heads: dict[str, NDArray[np.generic]]
    history: pl.DataFrame
    quality: pl.DataFrame


def align(
    image: NDArray[np.float32],
    text: NDArray[np.float32],
    has_image: NDArray[np.bool_],
    has_text: NDArray[np.bool_],
    settings: AlignmentSettings,
    runtime: Runtime,
) -> Aligned:
    """Trains the heads by symmetric InfoNCE and maps every item with them.

    What picks the epoch is what the held-out items' vectors tell of each other: log n - loss, in nats, a lower bound
    of their mutual information (van den Oord et al. 2018). Vectors that share nothing give 0 at best. It moves
    smoothly where recall among a few dozen items jumps, and it falls as soon as a small catalogue is learnt by heart.

    Args:
        image: float32 [n, d_v]; rows without a picture are not looked at.
        text: float32 [n, d_t]; rows without a text are not looked at.
        has_image: bool [n].
        has_text: bool [n].
        settings: Heads, temperature, fusion, schedule.
        runtime: Seed, device, resume folder, progress.
    """
    rows = np.flatnonzero(has_image & has_text)
    fabric = open_fabric(runtime)
    torch.manual_seed(runtime.seed)
    heads = Heads(torch.from_numpy(image[has_image]), torch.from_numpy(text[has_text]), settings)
    history: pl.DataFrame = TrainingHistory.create_empty()
    figures: pl.DataFrame = AlignmentQuality.create_empty()
    trained, held_out = _apart(rows, settings.held_out, runtime.seed)
    if len(rows) < FEWEST:
        _LOG.warning("%d items have a picture and a text: the heads stay as they were drawn", len(rows))
    else:
        training, held = _Pairs.of(image, text, trained), _Pairs.of(image, text, held_out)
        batches = TensorBatches(training.tensors, settings.batch, runtime.seed, whole=True)
        validation = Validation("information", lambda: _information(heads, held, fabric.device))
        history = fit(heads, batches, settings, runtime, validation, fabric)
    heads = heads.cpu().eval()
    with torch.inference_mode():
        of_images = _mapped(heads.of_images, image, has_image, heads.width)
        of_texts = _mapped(heads.of_texts, text, has_text, heads.width)
    if len(history):
        parts = (("train", trained[:_COMPARED]), ("held_out", held_out))
        figures = pl.concat(quality(of_images[part], of_texts[part], name) for name, part in parts)
    return Aligned(
        image=of_images,
        text=of_texts,
        vector=_fused(of_images, of_texts, has_image, has_text, settings.fusion),
        heads={name: tensor.numpy() for name, tensor in heads.state_dict().items()},
        history=history,
        quality=figures,
    )


def _apart(rows: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to train on and those held out, drawn by seed."""
    order = np.random.default_rng(seed).permutation(rows)
    held = min(max(math.ceil(share * len(rows)), 2), _COMPARED)  # one item alone tells nothing
    return order[held:], order[:held]


@dataclass(frozen=True)
class _Pairs:
    """What ``Heads.forward`` takes of some items."""

    image: Tensor
    text: Tensor
    same_image: Tensor
    same_text: Tensor

    @classmethod
    def of(cls, image: NDArray[np.float32], text: NDArray[np.float32], rows: NDArray[np.int64]) -> _Pairs:
        pictures, texts = torch.from_numpy(image[rows]), torch.from_numpy(text[rows])
        same = (torch.unique(part, dim=0, return_inverse=True)[1] for part in (pictures, texts))
        return cls(pictures, texts, *same)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.image, self.text, self.same_image, self.same_text

    def __len__(self) -> int:
        return len(self.image)


def _information(heads: Heads, held: _Pairs, device: torch.device) -> float:
    with torch.inference_mode():
        loss = heads(*(part.to(device) for part in held.tensors))
    return math.log(len(held)) - loss.item()


def _mapped(
    head: Callable[[Tensor], Tensor], vectors: NDArray[np.float32], there: NDArray[np.bool_], width: int
) -> NDArray[np.float32]:
    mapped = np.zeros((len(vectors), width), np.float32)
    rows = np.flatnonzero(there)
    for start in range(0, len(rows), _COMPARED):
        some = rows[start : start + _COMPARED]
        mapped[some] = head(torch.from_numpy(vectors[some])).numpy()
    return mapped


def _fused(
    image: NDArray[np.float32],
    text: NDArray[np.float32],
    has_image: NDArray[np.bool_],
    has_text: NDArray[np.bool_],
    fusion: str,
) -> NDArray[np.float32]:
    first = np.where(has_image[:, None], image, text)
    second = np.where(has_text[:, None], text, image)
    return np.concatenate([first, second], axis=1) if fusion == "concatenation" else (first + second) * np.float32(0.5)
