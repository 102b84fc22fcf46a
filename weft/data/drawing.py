"""Drawn cover pictures, 64 × 64: a style is a palette, a shape and a texture; everything else varies by item."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 64

_PALETTES = (
    ((247, 226, 196), (214, 73, 51), (240, 162, 2)),
    ((22, 50, 79), (88, 164, 176), (218, 226, 223)),
    ((45, 48, 71), (199, 62, 115), (249, 220, 92)),
    ((225, 239, 230), (47, 110, 79), (151, 190, 90)),
    ((250, 243, 240), (86, 65, 145), (190, 149, 196)),
    ((30, 30, 30), (235, 235, 235), (230, 57, 70)),
    ((255, 229, 236), (255, 112, 150), (90, 24, 154)),
    ((202, 233, 255), (27, 73, 101), (255, 159, 28)),
)
"""Background, main and second colour of each style."""


def draw_covers(names: list[str], style: NDArray[np.int64], rng: np.random.Generator) -> pl.DataFrame:
    """One JPEG per name (schema ``RawImages``)."""
    pictures = [to_jpeg(draw(int(s), rng)) for s in style]
    side = np.full(len(names), SIDE, dtype=np.int32)
    return pl.DataFrame({"image": names, "width": side, "height": side, "jpeg": pictures}).with_columns(
        problem=pl.lit(None, pl.String)
    )


def draw(style: int, rng: np.random.Generator) -> Image.Image:
    """One picture of ``style``: six of its shapes on its ground, in its colours."""
    shift = rng.integers(-18, 19, 3)
    background, *inks = np.clip(np.array(_PALETTES[style]) + shift, 0, 255)
    ground = background + _texture(style, rng)[:, :, None]
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8), "RGB")
    pen = ImageDraw.Draw(picture)
    for x, y, radius, turn in zip(
        rng.integers(6, SIDE - 6, 6), rng.integers(6, SIDE - 6, 6), rng.integers(6, 17, 6), rng.random(6), strict=True
    ):
        _shape(pen, style, (int(x), int(y), int(radius)), float(turn), tuple(inks[int(turn * 10) % 2].tolist()))
    return picture


def to_jpeg(picture: Image.Image) -> bytes:
    """The bytes of ``picture`` as a shop's server would send them."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _texture(style: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Brightness added to the background: grain, a slope, or stripes in one of three directions."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    phase, period = rng.random() * 6.3, 5 + rng.random() * 4
    match style % 4:
        case 0:
            return rng.normal(0, 14, (SIDE, SIDE))
        case 1:
            return (y - SIDE / 2) * 0.9
        case 2:
            return 14 * np.sin((x + y) * 6.3 / period + phase)
        case _:
            return 12 * np.sin(y * 6.3 / period + phase)


def _shape(
    pen: ImageDraw.ImageDraw, style: int, place: tuple[int, int, int], turn: float, ink: tuple[int, ...]
) -> None:
    """Draws the style's shape at (x, y) with a radius; ``turn`` in [0, 1) rotates what has a direction."""
    x, y, radius = place
    box = (x - radius, y - radius, x + radius, y + radius)
    match style:
        case 0:
            pen.ellipse(box, fill=ink)
        case 1:
            pen.ellipse(box, outline=ink, width=3)
        case 2:
            pen.regular_polygon((x, y, radius), 3, rotation=int(turn * 360), fill=ink)
        case 3:
            pen.arc(box, int(turn * 360), int(turn * 360) + 200, fill=ink, width=4)
        case 4:
            pen.regular_polygon((x, y, radius), 6, rotation=int(turn * 360), outline=ink, fill=None)
        case 5:
            pen.rectangle((x - radius, y - 3, x + radius, y + 3), fill=ink)
        case 6:
            pen.regular_polygon((x, y, radius), 4, rotation=45, fill=ink)
        case _:
            angle = turn * 6.3
            dx, dy = radius * np.cos(angle), radius * np.sin(angle)
            pen.line((x - dx, y - dy, x + dx, y + dy), fill=ink, width=4)
            pen.line((x - dy, y + dx, x + dy, y - dx), fill=ink, width=4)
