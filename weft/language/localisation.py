"""Where in the catalogue an answer points: the weighted sum of the names nearest to it (LLM4SBR eq. 4 and 5).

ê = Σ over the K nearest names of cos(answer, name) · name. The similarities of the answer itself are the weights,
neither normalised nor made positive; K = 0 keeps the vector of the raw answer.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.language.grounding import Encode
from weft.schemas import localized_intents

_BLOCK = 2**23
"""Similarities, and numbers of the nearest names, in memory at a time: 32 MB."""


def localise(
    inferences: pl.DataFrame, answers: NDArray[np.float32], names: pl.DataFrame, k: int
) -> tuple[pl.DataFrame, float]:
    """The vector of every session and view (schema ``localized_intents``), in the order of the inferences.

    Equally near names go by item number. A row without text has the zero vector and is marked ``empty``.

    Args:
        inferences: Schema ``IntentInferences``.
        answers: float32 [n, d], a vector of each row's text; what stands for a row without text is not looked at.
        names: ``item`` and ``vector`` (float32, width d) of every item that has a name.
        k: Names that count; at most as many as there are.

    Returns:
        The table, and the share of empty rows.

    Raises:
        ValueError: If the widths differ.
    """
    vectors = names["vector"].to_numpy().astype(np.float32).reshape(len(names), -1 if len(names) else answers.shape[1])
    if answers.shape[1] != vectors.shape[1]:
        raise ValueError(f"answers of width {answers.shape[1]} and names of width {vectors.shape[1]} do not compare")
    empty = inferences["text"].is_null().to_numpy()
    k = min(k, len(names))
    placed = np.where(empty[:, None], np.float32(0), answers).astype(np.float32)
    items = np.zeros((len(placed), k), np.int32)
    similarities = np.zeros((len(placed), k), np.float32)
    if k:
        # By item number, so that the first of equally near ones is the lowest.
        order = np.argsort(names["item"].to_numpy(), kind="stable")
        numbers, vectors = names["item"].to_numpy()[order], vectors[order]
        units, directions = _unit(placed), _unit(vectors).T
        size = max(_BLOCK // max(len(numbers), k * vectors.shape[1]), 1)
        for start in range(0, len(placed), size):
            rows = slice(start, start + size)
            nearest, similarities[rows] = _nearest(units[rows] @ directions, k)
            items[rows] = numbers[nearest]
            placed[rows] = np.einsum("bk,bkd->bd", similarities[rows], vectors[nearest])
    kept = [[] if nothing else row for nothing, row in zip(empty, items.tolist(), strict=True)]
    weights = [[] if nothing else row for nothing, row in zip(empty, similarities.tolist(), strict=True)]
    table = inferences.select(
        "session",
        "view",
        pl.lit(k).alias("k"),
        pl.Series("items", kept, dtype=pl.List(pl.Int32)),
        pl.Series("similarities", weights, dtype=pl.List(pl.Float32)),
        pl.Series("empty", empty),
        pl.Series("vector", placed, dtype=pl.Array(pl.Float32, placed.shape[1])),
    )
    return localized_intents(placed.shape[1]).cast(table), float(empty.mean()) if len(empty) else 0.0


def each_once(texts: pl.Series, encode: Encode) -> NDArray[np.float32]:
    """float32 [n, d]: a vector of each text, every different one encoded once; zero where there is none."""
    told = texts.drop_nulls().unique(maintain_order=True)
    vectors = encode(told.to_list())
    place = texts.replace_strict(told, range(1, len(told) + 1), default=0, return_dtype=pl.Int64).fill_null(0)
    return np.vstack([np.zeros((1, vectors.shape[1]), np.float32), vectors])[place.to_numpy()]


def _nearest(similar: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Columns and values of the k largest of each row, largest first, of equal ones the first column."""
    bound = np.partition(similar, similar.shape[1] - k, axis=1)[:, -k][:, None]
    row, column = np.nonzero(similar >= bound)
    order = np.lexsort((column, -similar[row, column], row))
    starts = np.searchsorted(row, np.arange(len(similar)))
    chosen = column[order][starts[:, None] + np.arange(k)]
    return chosen, np.take_along_axis(similar, chosen, axis=1)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
