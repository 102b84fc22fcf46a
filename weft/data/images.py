"""Pictures of items: found in a folder or archive, decoded once, shrunk, kept as RGB JPEG.

A picture that is unreadable, or that would take more memory than a picture should, is left out and counted: a missing
picture is a state that every later stage knows, a broken one is not.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import polars as pl
from PIL import Image, ImageOps

from weft.data.archives import Archive, need_file, open_archive
from weft.errors import SourceError
from weft.progress import NoProgress, Progress
from weft.schemas import RawImages

MAX_PIXELS = 50_000_000
"""Larger pictures are refused from their header, before anything is decoded: 50 megapixels are 150 MB of RGB."""

MAX_BYTES = 64 * 2**20
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
        """Decodes each referenced picture once (schema ``RawImages``); what cannot be decoded is not in the table."""
        with (progress or NoProgress()).step("pictures", len(references), "pictures") as step:
            rows = []
            for reference, decoded in zip(references, self._decode_all(references, side), strict=True):
                step.advance()
                if decoded is not None:
                    rows.append((reference, *decoded))
        return pl.DataFrame(rows, schema=RawImages.create_empty().schema, orient="row")

    def _decode_all(self, references: list[str], side: int) -> Iterator[tuple[int, int, bytes] | None]:
        """Reads one after the other, decodes on two threads (Pillow lets go of the interpreter while it works)."""
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(references), 64):  # so that no more than 64 undecoded files are held at once
                contents = [self._content(reference) for reference in references[start : start + 64]]
                yield from pool.map(lambda content: shrink(content, side), contents)

    def _content(self, reference: str) -> bytes:
        name = self._member.get(reference) or self._member.get(PurePosixPath(reference).name)
        if name is None or self.archive.sizes[name] > MAX_BYTES:
            return b""
        try:
            return self.archive.read(name)
        except SourceError:
            return b""


def open_picture(content: bytes, side: int = 0) -> Image.Image | None:
    """The picture upright in RGB; None if it cannot be read or has more than ``MAX_PIXELS``.

    Args:
        content: Bytes of a picture file.
        side: If given, a JPEG decoder may skip detail beyond twice this side: faster, but not pixel for pixel equal.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return None
            if side:
                picture.draft("RGB", (2 * side, 2 * side))
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def shrink(content: bytes, side: int) -> tuple[int, int, bytes] | None:
    """Width, height and JPEG bytes of a picture whose shorter side is at most ``side``; None if it is unusable."""
    upright = open_picture(content, side)
    if upright is None:
        return None
    scale = side / min(upright.size)
    if scale < 1:
        size = (max(1, round(upright.width * scale)), max(1, round(upright.height * scale)))
        upright = upright.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=90)
    return upright.width, upright.height, buffer.getvalue()


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
        items.select("item", "item_id")
        .join(references, on="item_id")
        .join(raw_images, on="image")
        .select("item", "width", "height", "jpeg")
        .sort("item")
    )
