"""How well pictures and texts are aligned: retrieval beside chance, alignment, uniformity."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.schemas import AlignmentQuality

NEAR = (1, 10)


def quality(image: NDArray[np.float32], text: NDArray[np.float32], split: str) -> pl.DataFrame:
    """Figures of some items (schema ``AlignmentQuality``); no rows for fewer than two.

    ``chance_recall@k`` is what vectors without any meaning reach among as many items.

    Args:
        image: float32 [n, width], unit vectors of the pictures.
        text: float32 [n, width], unit vectors of the same items' texts.
        split: ``train`` or ``held_out``: which items these are.
    """
    n = len(image)
    if n < 2:
        return AlignmentQuality.create_empty()
    values = {"items": float(n)}
    for near in NEAR:
        values[f"image_to_text_recall@{near}"] = recall(image, text, near)
        values[f"text_to_image_recall@{near}"] = recall(text, image, near)
        values[f"chance_recall@{near}"] = min(near / n, 1.0)
    values["alignment"] = alignment(image, text)
    values["uniformity_image"] = uniformity(image)
    values["uniformity_text"] = uniformity(text)
    rows = [{"split": split, "metric": metric, "value": value} for metric, value in values.items()]
    return AlignmentQuality.cast(pl.DataFrame(rows))


def recall(queries: NDArray[np.float32], answers: NDArray[np.float32], near: int) -> float:
    """Share of queries whose own answer (same row) has a mid-rank of at most ``near`` by cosine."""
    scores = queries @ answers.T
    own = scores.diagonal()[:, None]
    better, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1
    return float((1 + better + equal / 2 <= near).mean())


def alignment(image: NDArray[np.float32], text: NDArray[np.float32]) -> float:
    """Mean squared distance of an item's two vectors (Wang & Isola 2020, α = 2): 0 is best, 2 is unrelated."""
    return float(((image - text) ** 2).sum(axis=1).mean())


def uniformity(vectors: NDArray[np.float32]) -> float:
    """Log of the mean Gaussian potential of all pairs (Wang & Isola 2020, t = 2): 0 is one point, lower is spread."""
    distances = 2 - 2 * vectors.astype(np.float64) @ vectors.T
    pairs = distances[np.triu_indices(len(vectors), 1)]
    return float(np.log(np.exp(-2 * pairs).mean()))
