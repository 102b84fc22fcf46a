"""Pictures of items: found in a folder or archive, decoded once, shrunk, kept as RGB JPEG.

Picture files come from elsewhere. One that is missing, empty, truncated, unreadable, or larger than a picture should be
is named with its problem and left out: a missing picture is a state that every later stage knows, a broken one is not.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from PIL import Image, ImageOps

from weft.data.archives import Archive, need_file, open_archive
from weft.errors import SourceError
from weft.progress import NoProgress, Progress
from weft.schemas import RawImages

MAX_PIXELS = 50_000_000
"""Larger pictures are refused from their header, before anything is decoded: 50 megapixels are 200 MB of RGBA."""

MAX_BYTES = 64 * 2**20
_HELD_BYTES, _HELD_FILES = 2 * MAX_BYTES, 64
"""Files that are held undecoded at once."""

_LONGEST = 16
"""Of a very long picture the longer side is at most this many times the shorter side that was asked for."""

Problem: TypeAlias = Literal["missing_image", "empty_image", "huge_image", "truncated_image", "unreadable_image"]
"""Why there is no picture: names of cleaning rules (``weft.data.rules``)."""

Shrunk: TypeAlias = tuple[int, int, bytes]
"""Width, height and JPEG bytes."""

# What Pillow's decoders are known to raise on damaged files.
BROKEN = (
    *(
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
    ),
    *(AssertionError, struct.error, zlib.error),
)
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


class Pictures:
    """The picture files of one folder or archive, found by path, by name, or by name without ending."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._member: dict[str, str] = {}
        for name in archive.names:
            path = PurePosixPath(name)
            if path.suffix.lower() in _ENDINGS:
                for key in (name, path.name, path.stem):
                    self._member.setdefault(key, name)

    @classmethod
    def open(cls, path: Path) -> Pictures:
        """Raises SourceError if there is no folder or archive, or not one picture in it."""
        pictures = cls(open_archive(path))
        if not pictures._member:
            raise SourceError(
                f"{path} holds no pictures", f"give a folder or archive with {', '.join(_ENDINGS[:4])} files"
            )
        return pictures

    def references(self, items: pl.DataFrame, image_map: pl.DataFrame | None) -> pl.DataFrame:
        """Sets ``image`` of raw items: as the source says, else through the map, else the item id, if a file has it.

        Where the source says a web address, the file that was saved under its last part counts, else the item's.
        """
        if image_map is not None:
            items = items.join(image_map, on="item_id", how="left", maintain_order="left", validate="m:1")
            by_key = pl.col("mapped")
        else:
            by_key = pl.col("item_id")
        known = pl.Series(list(self._member), dtype=pl.String).implode()
        saved = pl.col("image").str.extract(r"^https?://.*/([^/?#]+)")
        address = pl.col("image").str.contains("^https?://")
        stated = pl.when(~address).then("image").when(saved.is_in(known)).then(saved)
        found = pl.when(by_key.is_in(known)).then(by_key)
        return items.with_columns(image=pl.coalesce(stated, found, "image")).select(pl.exclude("mapped"))

    def decode(self, references: list[str], side: int, progress: Progress | None = None) -> pl.DataFrame:
        """Decodes each referenced picture once (schema ``RawImages``); what cannot be decoded has a problem instead."""
        with (progress or NoProgress()).step("pictures", len(references), "pictures") as step:
            rows: list[tuple[object, ...]] = []
            for reference, decoded in zip(references, self._decode_all(references, side), strict=True):
                step.advance()
                fine = not isinstance(decoded, str)
                rows.append((reference, *decoded, None) if fine else (reference, None, None, None, decoded))
        return pl.DataFrame(rows, schema=RawImages.create_empty().schema, orient="row")

    def _decode_all(self, references: list[str], side: int) -> Iterator[Shrunk | Problem]:
        """Reads one after the other, decodes on two threads (Pillow lets go of the interpreter while it works)."""
        with ThreadPoolExecutor(2) as pool:
            held: list[bytes | Problem] = []
            for reference in references:
                held.append(self._content(reference))
                if len(held) == _HELD_FILES or sum(map(len, held)) > _HELD_BYTES:
                    yield from pool.map(lambda content: _shrunk(content, side), held)
                    held = []
            yield from pool.map(lambda content: _shrunk(content, side), held)

    def _content(self, reference: str) -> bytes | Problem:
        name = self._member.get(reference) or self._member.get(PurePosixPath(reference).name)
        if name is None:
            return "missing_image"
        if self.archive.sizes[name] > MAX_BYTES:
            return "huge_image"
        try:
            return self.archive.read(name)
        except SourceError:
            return "unreadable_image"


def _shrunk(content: bytes | Problem, side: int) -> Shrunk | Problem:
    return content if isinstance(content, str) else shrink(content, side)


def shrink(content: bytes, side: int) -> Shrunk | Problem:
    """A picture whose shorter side is at most ``side``, as RGB JPEG; or what is wrong with it.

    Of an animation the first frame counts; what is transparent becomes white; 16 bits become 8. Size is judged from
    the header, before anything is decoded, and detail goes away before a copy is made, so that memory stays bounded.
    """
    if not content:
        return "empty_image"
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return "huge_image"
            picture.draft("RGB", (2 * side, 2 * side))  # a JPEG decoder can skip detail that goes away anyway
            upright = ImageOps.exif_transpose(_opaque(_resized(_eight_bit(picture), side)))
            buffer = io.BytesIO()
            upright.save(buffer, "JPEG", quality=90)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return "huge_image"
    except BROKEN as error:
        return "truncated_image" if "truncated" in str(error) else "unreadable_image"
    return upright.width, upright.height, buffer.getvalue()


def _eight_bit(picture: Image.Image) -> Image.Image:
    """The same with values of 0 to 255 in a mode that can be resized. Pillow cuts 16 bits off at 255 by itself."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        return Image.fromarray((np.clip(values, 0, 65_535) >> 8).astype(np.uint8), "L")
    if picture.mode in {"P", "PA"}:
        return picture.convert("RGBA")
    return picture.convert("L") if picture.mode in {"1", "F"} else picture


def _resized(picture: Image.Image, side: int) -> Image.Image:
    scale = min(side / min(picture.size), _LONGEST * side / max(picture.size))
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)  # keeps what the camera says


def _opaque(picture: Image.Image) -> Image.Image:
    """RGB on white: what lies under transparent pixels is no part of the picture."""
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    layer = picture.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(paper, layer).convert("RGB")


def read_map(path: Path) -> pl.DataFrame:
    """The first two columns of a TSV or CSV with a header, as ``item_id`` and ``mapped`` (name of its picture)."""
    need_file(path)
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    table = pl.read_csv(
        path,
        separator=separator,
        infer_schema=False,
        quote_char=None,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
    )
    if table.width < 2:
        raise SourceError(f"{path} has {table.width} column, expected two", "write item id, picture name in each line")
    item, picture = table.columns[:2]
    return (
        table.select(pl.col(item).alias("item_id"), pl.col(picture).alias("mapped"))
        .drop_nulls()
        .unique("item_id", keep="first", maintain_order=True)
    )


def of_items(items: pl.LazyFrame, raw_items: pl.LazyFrame, raw_images: pl.LazyFrame) -> pl.LazyFrame:
    """One picture per catalogue item that has one (schema ``Images``), sorted by item."""
    references = raw_items.select("item_id", "image").drop_nulls().unique("item_id", keep="first", maintain_order=True)
    return (
        items.filter(pl.col("has_image"))
        .select("item", "item_id")
        .join(references, on="item_id")
        .join(raw_images.filter(pl.col("problem").is_null()), on="image")
        .select("item", "width", "height", "jpeg")
        .sort("item")
    )
