"""From a raw answer to the text that is used: pure, and never obeying what the answer says.

An answer is as untrusted as the titles that it may repeat: it loses its reasoning, its invisible characters and what
looks like a special token, and is bounded in length. What is left of it is text, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from weft.language.sanitise import sanitise

Parse = Callable[[str], str | None]
"""From a raw answer to its text, or None where it is malformed."""

TEXT, NAME = 4_000, 300
"""Characters of a written text, and of a name, that are kept."""

_OPEN, _CLOSE = (re.compile(mark, re.IGNORECASE) for mark in ("<think>", "</think>"))
_BULLET = re.compile(r"^(?:[-*•#\s]+|\(?\d{1,2}[.)]\s)+")
_MARKS = " \t*_'‘’.,:"  # noqa: RUF001 - quotes as they come


def prose(raw: str) -> str | None:
    """An answer that is read as a whole: one line; None where nothing with a letter or digit is left."""
    text = sanitise(without_reasoning(raw), TEXT)
    return text if any(map(str.isalnum, text)) else None


def name(raw: str) -> str | None:
    """The first line that says something, without number, bullet, emphasis and quotes (LLM4SBR asks for a name alone).

    None where no line does.
    """
    for line in without_reasoning(raw).splitlines():
        said = _BULLET.sub("", sanitise(line, NAME)).strip(_MARKS)
        if any(map(str.isalnum, said)):
            return said
    return None


def without_reasoning(raw: str) -> str:
    """What follows the last ``<think>…</think>`` (DeepSeek-R1 and its kind), up to a block that was cut off."""
    return _OPEN.split(_CLOSE.split(raw)[-1], maxsplit=1)[0]


def read(generations: pl.DataFrame, parse: Parse) -> pl.Series:
    """The text of every generated row (columns of ``Generated``): null where it is malformed or nobody answered."""
    answered = generations["status"].is_in(["answered", "retried"])
    texts = [parse(raw) if usable else None for raw, usable in zip(generations["raw"], answered, strict=True)]
    return pl.Series("text", texts, dtype=pl.String)
