"""The pictures that a model looks at, decoded as they are: shrinking them is for the model's own preprocessing."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from weft.data.images import BROKEN, MAX_PIXELS

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def open_picture(content: bytes) -> Image.Image | None:
    """The picture upright in RGB, of an animation the first; None if it is damaged or larger than ``MAX_PIXELS``.

    The size is judged from the header, before anything is decoded.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return None
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (*BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return None
