"""Texts that are longer than an encoder reads: cut between words into parts it can read, and their vectors pooled.

A silent cut would lose what stands at the end: a generated description, say, behind a long title.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def split(text: str, count: Callable[[str], int], budget: int) -> list[str]:
    """Parts of about equal length, in order, each of at most ``budget`` tokens.

    Parts are equal because each counts as much as the next in the mean: a tail of two words would drown the rest.
    Cuts fall between words; only a word that is longer than the budget by itself is cut between letters.

    Args:
        text: One text.
        count: Number of tokens of a text, without the special ones.
        budget: Most tokens of a part, at least 1.
    """
    tokens = count(text)
    if tokens <= budget:
        return [text]
    words = text.split()
    units, joint = (words, " ") if len(words) > 1 else (list(text.strip()), "")
    if len(units) < 2:
        return [text]
    parts = min(math.ceil(tokens / budget), len(units))
    cuts = [len(units) * k // parts for k in range(parts + 1)]
    return [part for a, b in pairwise(cuts) for part in split(joint.join(units[a:b]), count, budget)]


def pool(vectors: NDArray[np.float32], chunks: NDArray[np.int32]) -> NDArray[np.float32]:
    """One unit vector per text: the mean of its parts' unit vectors, normalised again.

    Args:
        vectors: float32 [sum of ``chunks``, d], unit vectors of the parts, text by text.
        chunks: int32 [n], parts of each text, at least 1.

    Returns:
        float32 [n, d].
    """
    if not len(chunks):
        return vectors[:0]
    sums = np.add.reduceat(vectors, np.cumsum(chunks) - chunks, axis=0)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
