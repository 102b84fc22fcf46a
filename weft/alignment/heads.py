"""The two heads and their contrastive loss (CIT-Rec eq. 3 and 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from weft.alignment.settings import AlignmentSettings


class Heads(nn.Module):
    """Maps image vectors and text vectors into one space; ``forward`` is the loss that trains them.

    Args:
        image: float32 [n, d_v], vectors that the heads will see: their mean and spread are taken out first.
        text: float32 [n, d_t], the same of the texts.
        settings: Width, kind of head, temperature.
    """

    def __init__(self, image: Tensor, text: Tensor, settings: AlignmentSettings) -> None:
        super().__init__()
        self.width = settings.width or image.shape[1]
        self.image = _head(image, self.width, settings.head)
        self.text = _head(text, self.width, settings.head)
        self._temperature = settings.temperature

    def forward(self, image: Tensor, text: Tensor, same_image: Tensor, same_text: Tensor) -> Tensor:
        """Mean symmetric InfoNCE of n items, each against the others of the batch (eq. 4).

        Items with the same picture or the same text are no negatives of each other.

        Args:
            image: float32 [n, d_v].
            text: float32 [n, d_t].
            same_image: int64 [n], equal where the pictures are.
            same_text: int64 [n], equal where the texts are.
        """
        logits = self.of_images(image) @ self.of_texts(text).t() / self._temperature
        twins = (same_image[:, None] == same_image) | (same_text[:, None] == same_text)
        logits = logits.masked_fill(twins.fill_diagonal_(False), -torch.inf)
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.t(), own)) / 2

    def of_images(self, image: Tensor) -> Tensor:
        """Unit vectors [n, width] of image vectors (eq. 3)."""
        return F.normalize(self.image(image).float(), dim=1)

    def of_texts(self, text: Tensor) -> Tensor:
        """Unit vectors [n, width] of text vectors (eq. 3)."""
        return F.normalize(self.text(text).float(), dim=1)


class _Centred(nn.Module):
    """Takes out what all vectors share, and their scale; directions stay as they are (nothing is whitened).

    A language model's states have one large part in common: without this, all items start in the same corner.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        centre = vectors.mean(0) if len(vectors) else vectors.new_zeros(vectors.shape[1])
        spread = (vectors - centre).norm(dim=1).mean() if len(vectors) else vectors.new_ones(())
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread.clamp(min=1e-6))

    def forward(self, vectors: Tensor) -> Tensor:
        return (vectors - self.centre) / self.spread


def _head(vectors: Tensor, width: int, kind: str) -> nn.Sequential:
    layers: list[nn.Module] = [_Centred(vectors), nn.Linear(vectors.shape[1], width)]
    if kind == "mlp":
        layers += [nn.GELU(), nn.Linear(width, width)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            # Distances survive an orthogonal map: what the encoders know is there before the first step.
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
