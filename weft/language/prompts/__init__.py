"""Prompt templates, one text file per family and version, and how they are filled.

A file is the text of one user message with named places such as ``{title}``; above a line ``---`` it may say how a list
of items is written (``each``, ``between``), how a view is worded (``views``), and from which texts the variants of a
system choose (``parts``). A profile names the version; no code branches on it. A new version is a new file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field

from weft.errors import RequestError
from weft.language.engine import Message
from weft.language.sanitise import sanitise

PLACES = {
    "enrichment": {"title", "dated", "domain", "description"},
    "intent": {"items", "view"},
    "assessment": {"history", "target", "target_dated"},
    "cit_rec": {"user", "liked", "disliked", "target", "closing"},
}
"""What a template of each family may name."""

_OF_AN_ITEM = {"number", "item", "title", "dated", "domain", "description"}
_PLACE = re.compile(r"\{([a-z_]+)\}")
_TITLE, _DESCRIPTION = 200, 600  # characters; the longest title of ML-1M has 82

Words = Mapping[str, str]
"""What may be said of one item: sanitised text by place (``title``, ``dated``, …)."""


class Template(BaseModel):
    """One version of one family's prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Its version, as profiles name it.")
    text: str = Field(description="The message, with named places.")
    each: str = Field("{title}", description="One item of a list; {number} counts from 1.")
    between: str = Field("; ", description="What stands between two items of a list.")
    views: dict[str, str] = Field({}, description="Words for each view of a session.")
    parts: dict[str, str] = Field({}, description="Texts that a variant of a system puts into a place, or leaves out.")

    @property
    def stamp(self) -> str:
        """Name and digest of all that the file says, as in ``brief@1a2b3c4d``: another text is another version."""
        return f"{self.name}@{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]}"

    def message(self, **words: str) -> list[Message]:
        """The one user message. ``words`` are put in as they are: a word that looks like a place stays a word."""
        return [{"role": "user", "content": _filled(self.text, words)}]

    def part(self, name: str, **words: str) -> str:
        """One of the texts that a variant chooses."""
        return _filled(self.parts[name], words)

    def listed(self, items: Sequence[Words]) -> str:
        """A list of items in the template's way."""
        lines = (_filled(self.each, {**words, "number": str(place)}) for place, words in enumerate(items, 1))
        return self.between.join(lines)


@cache
def template(family: str, version: str) -> Template:
    """The template ``<family>/<version>.txt``.

    Raises:
        RequestError: If there is no such version, or its file names a place that the family does not fill.
    """
    folder = resources.files(__name__) / family
    versions = sorted(file.name.removesuffix(".txt") for file in folder.iterdir() if file.name.endswith(".txt"))
    if version not in versions:
        raise RequestError(f"there is no prompt '{family}/{version}'", f"versions: {', '.join(versions)}")
    head, _, body = f"\n{(folder / f'{version}.txt').read_text(encoding='utf-8')}".rpartition("\n---\n")
    made = Template(name=version, text=body.strip(), **(yaml.safe_load(head) or {}))
    unknown = (set(_PLACE.findall(made.text)) - PLACES[family]) | (set(_PLACE.findall(made.each)) - _OF_AN_ITEM)
    if unknown:
        places = ", ".join(sorted(PLACES[family]))
        raise RequestError(f"prompt '{family}/{version}' names {{{min(unknown)}}}", f"places of this family: {places}")
    return made


def item_words(items: pl.DataFrame) -> dict[int, dict[str, str]]:
    """What prompts may say of each item of the catalogue (schema ``Items``), by item number, sanitised.

    ``dated`` is the title with its year, where that is known. An item without a title is ``untitled item 17``.
    """
    words = {}
    for row in items.select("item", "title", "year", "domain", "description").iter_rows(named=True):
        title = sanitise(row["title"], _TITLE) or f"untitled item {row['item']}"
        year = "" if row["year"] is None or f"({row['year']})" in title else f" ({row['year']})"
        words[row["item"]] = {
            "item": str(row["item"]),
            "title": title,
            "dated": title + year,
            "domain": sanitise(row["domain"], _TITLE) or "any",
            "description": sanitise(row["description"], _DESCRIPTION),
        }
    return words


def with_title(items: pl.DataFrame) -> pl.Series:
    """Numbers of the items that have a title to be asked about."""
    return items.filter(pl.col("title").map_elements(sanitise, pl.String).fill_null("") != "")["item"]


def _filled(text: str, words: Words) -> str:
    """``text`` with every place filled, in one pass: what is filled in is not looked at again."""
    return _PLACE.sub(lambda place: words[place[1]], text)
