"""Image and text vectors of any open_clip model: a folder on disk, or a name with a tag of published weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft import digest
from weft.errors import RequestError
from weft.language.chunks import pool, split
from weft.training.loop import open_fabric
from weft.training.runtime import Runtime
from weft.vision.pictures import open_picture


class ImageTextEncoder:
    """Unit vectors of pictures and of texts in one space (CLIP, Radford et al. 2021).

    A folder is read as it stands, without any network; a name fetches the weights of its tag once.

    Args:
        model: Folder with ``open_clip_config.json`` and weights, or an architecture of open_clip (``ViT-B-16``).
        pretrained: Tag of published weights for a name (``openai``, ``laion2b_s34b_b88k``); empty for a folder.
        runtime: Device, precision, threads and progress.
        batch: Pictures or chunks of text at once.

    Attributes:
        width: Length of the vectors.
        revision: Digest of the folder, or the tag.

    Raises:
        RequestError: If the folder or name cannot be opened, has no weights, or asks to run code of its own.
    """

    def __init__(
        self, model: str | Path, pretrained: str = "", runtime: Runtime | None = None, batch: int = 64
    ) -> None:
        self._runtime = runtime or Runtime()
        self._fabric = open_fabric(self._runtime)
        self._batch = batch
        folder = Path(model)
        if folder.is_dir():
            name = f"local-dir:{folder}"
            self.revision = digest.of_folder(folder)
        else:
            name = str(model).replace("/", "-") if ":" not in str(model) else str(model)  # ViT-B/16 is ViT-B-16
            self.revision = pretrained
        try:
            self.width = _width(name, pretrained)
            self._model, self._prepare = open_clip.create_model_from_pretrained(
                name, pretrained or None, device=self._fabric.device
            )
            self._tokenizer: Any = open_clip.get_tokenizer(name)
        except (RuntimeError, ValueError, OSError, KeyError, TypeError) as error:
            raise RequestError(
                f"{model} cannot be opened as an image-text model: {str(error).splitlines()[0]}",
                "give a folder that open_clip wrote, or a name and a tag of open_clip.list_pretrained()",
            ) from error
        self._model.eval()
        self._special = re.compile("|".join(map(re.escape, _special_tokens(self._tokenizer))), re.IGNORECASE)

    def images(self, pictures: Iterable[bytes]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Vectors of picture files.

        Pictures are decoded one batch ahead of the model, so that memory stays bounded however many there are.

        Returns:
            float32 [n, width] and bool [n]: unit vectors, and where there is one. A picture that cannot be decoded, or
            has more than ``weft.data.images.MAX_PIXELS``, has a row of zeros.
        """
        vectors, seen = [np.zeros((0, self.width), np.float32)], [np.zeros(0, bool)]
        total = len(pictures) if isinstance(pictures, Sized) else None
        with (
            ThreadPoolExecutor(2) as threads,
            self._runtime.progress.step("image vectors", total, "pictures") as step,
        ):
            for tensors in _ahead(iter(pictures), self._batch, threads, self._tensor):
                readable = np.array([tensor is not None for tensor in tensors])
                rows = np.zeros((len(tensors), self.width), np.float32)
                if readable.any():
                    stack = torch.stack([tensor for tensor in tensors if tensor is not None])
                    rows[readable] = self._encode(self._model.encode_image, stack)
                vectors.append(rows)
                seen.append(readable)
                step.advance(len(tensors))
        return np.concatenate(vectors), np.concatenate(seen)

    def texts(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Vectors of texts of any length: what is longer than the model reads is split, and its vectors pooled.

        The model's special tokens are taken out of a text first: they would end it before its end.

        Returns:
            float32 [n, width] and int32 [n]: unit vectors, and the number of chunks of each text.
        """
        budget = self._tokenizer.context_length - 2  # begin and end
        parts = [split(self._clean(text), self._count, budget) for text in texts]
        chunks = np.array([len(part) for part in parts], np.int32)
        flat = [chunk for part in parts for chunk in part]
        vectors = np.zeros((len(flat), self.width), np.float32)
        with self._runtime.progress.step("text vectors", len(flat), "chunks") as step:
            for start in range(0, len(flat), self._batch):
                batch = flat[start : start + self._batch]
                vectors[start : start + len(batch)] = self._encode(self._model.encode_text, self._tokenizer(batch))
                step.advance(len(batch))
        return pool(vectors, chunks), chunks

    def _tensor(self, content: bytes) -> Tensor | None:
        picture = open_picture(content)
        return None if picture is None else self._prepare(picture)

    def _encode(self, tower: Callable[..., Tensor], batch: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode(), self._fabric.autocast():
            rows = tower(batch.to(self._fabric.device))
        return torch.nn.functional.normalize(rows.float(), dim=-1).cpu().numpy()

    def _clean(self, text: str) -> str:
        """The tokeniser's own cleaning until nothing changes: a special token may hide behind HTML escapes."""
        before = None
        while text != before:
            before = text
            text = self._special.sub(" ", self._tokenizer.clean_fn(text))
        return text

    def _count(self, text: str) -> int:
        if isinstance(self._tokenizer, open_clip.SimpleTokenizer):
            return len(self._tokenizer.encode(text))
        return len(self._tokenizer.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _ahead(
    pictures: Iterator[bytes], size: int, threads: ThreadPoolExecutor, prepare: Callable[[bytes], Tensor | None]
) -> Iterator[list[Tensor | None]]:
    """Batches of prepared pictures; the next one is prepared while the caller works on the last."""
    waiting: list[Future[Tensor | None]] = []
    while waiting or (waiting := [threads.submit(prepare, content) for content in islice(pictures, size)]):
        following = [threads.submit(prepare, content) for content in islice(pictures, size)]
        yield [future.result() for future in waiting]
        waiting = following


def _width(name: str, pretrained: str) -> int:
    """Length of a model's vectors, from its configuration, which is looked at before anything of it is run."""
    config = open_clip.get_model_config(name)
    if config is None:
        raise ValueError("no architecture of that name, and no folder")
    if ":" not in name and not pretrained:
        raise ValueError("a name needs the tag of its weights")
    text = config["text_cfg"]
    if text.get("tokenizer_kwargs", {}).get("trust_remote_code"):
        raise ValueError("its tokeniser asks to run code of its own")
    if name.startswith("local-dir:") and "hf_model_name" in text:
        raise ValueError(f"its text tower {text['hf_model_name']!r} is described on a hub, not in the folder")
    return int(config["embed_dim"])


def _special_tokens(tokenizer: Any) -> list[str]:
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return [tokenizer.decoder[number] for number in tokenizer.all_special_ids]
    return list(tokenizer.tokenizer.all_special_tokens)
