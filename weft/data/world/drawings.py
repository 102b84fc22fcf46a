"""Captioned drawings that are in no catalogue: what an image-text model can learn of the world before it sees a shop.

A caption says what a shop's texts never say, in which style the picture is drawn; and some drawings carry a small
emblem of a theme that the caption names, so that the words of themes get a meaning too. No emblem is on any cover.
Without such a world contrastive training on a catalogue has no reason to keep a style that no text mentions.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from PIL import ImageDraw

from weft.data.drawing import SIDE, draw, to_jpeg
from weft.data.world.works import STYLES, THEMES

WITH_EMBLEM = 0.7
"""Share of the drawings with an emblem."""

_PLAIN = (
    "a drawing full of {style}",
    "{style} on paper",
    "a picture of {style}, drawn by {artist}",
    "{artist} likes {style}",
    "a {kind} of {style} from {year}",
    "number {number}: {style}",
)
_WITH_THEME = (
    "a {kind} about {theme}, drawn with {style}",
    "{artist}: {theme}, with {style} all over it",
    "{style} and {theme}, a {kind} from {year}",
    "{word} as {artist} draws it, in {style}",
    "{word}! {style} by {artist} ({year})",
    "{theme} in the middle of {number} {style}",
)
_KINDS = ("book", "film", "print", "poster", "card", "cover")
_SYLLABLES = ("wen", "dol", "qui", "fra", "osk", "yel", "mar", "tun", "eth", "gri", "pla", "cho")


def captioned(n: int, seed: int = 0) -> pl.DataFrame:
    """``n`` drawings with a caption each: columns ``jpeg`` (Binary) and ``caption`` (String).

    Styles and themes are about equally frequent and independent of each other. The artists' names, the years and
    the numbers in a caption say nothing of its picture, as in captions that people write.
    """
    rng = np.random.default_rng([seed, 0xD2A])
    style = rng.permutation(np.arange(n) % len(STYLES))
    theme = rng.permutation(np.arange(n) % len(THEMES))
    themed = rng.random(n) < WITH_EMBLEM
    rows = [_drawing(int(s), int(t) if shown else None, rng) for s, t, shown in zip(style, theme, themed, strict=True)]
    return pl.DataFrame(rows, schema={"jpeg": pl.Binary, "caption": pl.String}, orient="row")


def _drawing(style: int, theme: int | None, rng: np.random.Generator) -> tuple[bytes, str]:
    picture = draw(style, rng)
    word = None if theme is None else list(THEMES)[theme]
    if word is not None:
        x, y = rng.integers(2, SIDE - 26, 2).tolist()
        pen = ImageDraw.Draw(picture)
        pen.rectangle((x, y, x + 23, y + 23), fill="white", outline="black")
        for line in _EMBLEMS[word]:
            pen.line([(x + 4 + right, y + 4 + down) for right, down in line], fill="black", width=2)
    return to_jpeg(picture), _caption(style, word, rng)


def _caption(style: int, word: str | None, rng: np.random.Generator) -> str:
    forms = _PLAIN if word is None else _WITH_THEME
    form = forms[rng.integers(0, len(forms))]
    return form.format(
        style=STYLES[style],
        word=word,
        theme=word and THEMES[word][rng.integers(0, len(THEMES[word]))],
        kind=_KINDS[rng.integers(0, len(_KINDS))],
        artist="".join(_SYLLABLES[k] for k in rng.integers(0, len(_SYLLABLES), 2)).capitalize(),
        year=rng.integers(1950, 2023),
        number=rng.integers(2, 400),
    )


_EMBLEMS: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {
    "Sea": tuple(((0, y + 2), (4, y), (8, y + 2), (12, y), (15, y + 2)) for y in (2, 7, 12)),
    "War": (((0, 0), (15, 15)), ((15, 0), (0, 15)), ((0, 11), (4, 15)), ((15, 11), (11, 15))),
    "Love": (((7, 15), (0, 6), (3, 1), (7, 5), (11, 1), (15, 6), (7, 15)),),
    "Space": (((3, 8), (8, 3), (12, 8), (8, 12), (3, 8)), ((0, 13), (15, 3))),
    "Music": (((5, 13), (5, 1), (14, 1), (14, 11)), ((1, 13), (5, 13)), ((10, 11), (14, 11))),
    "Food": (((4, 0), (4, 15)), ((1, 0), (1, 5), (7, 5), (7, 0)), ((12, 15), (12, 0), (14, 6), (12, 7))),
    "Travel": (((0, 8), (15, 8)), ((9, 2), (15, 8), (9, 14))),
    "Magic": (((7, 0), (7, 15)), ((0, 7), (15, 7)), ((3, 3), (12, 12)), ((12, 3), (3, 12))),
    "Crime": (((1, 6), (6, 1), (10, 5), (6, 10), (1, 6)), ((9, 9), (15, 15))),
    "Sport": (((1, 1), (14, 1), (10, 8), (5, 8), (1, 1)), ((7, 8), (7, 15)), ((3, 15), (12, 15))),
    "Forest": (((7, 0), (1, 9), (14, 9), (7, 0)), ((7, 9), (7, 15))),
    "Robot": (((1, 4), (14, 4), (14, 15), (1, 15), (1, 4)), ((5, 9), (6, 9)), ((10, 9), (11, 9)), ((7, 0), (7, 4))),
}
"""How each theme is drawn: black lines, each through points on a grid of 0 to 15, x to the right and y down."""
