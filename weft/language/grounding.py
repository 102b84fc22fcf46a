"""Free text to catalogue items: which item does a line of an answer name?

Rules in this order; the first that finds anything decides:

``exact``, ``exact_year``
    The normalised title is equal, and the year too where both sides have one. Case, accents, punctuation, invisible
    characters and the place of an article ("Matrix, The") do not count. A title that two items share without a year
    to tell them apart is ambiguous. The right title with another year is another work, and names nothing here.
``fuzzy``
    The spelling is nearly equal (normalised indel similarity), with a margin to the second-best item.
``similar``
    A sentence encoder finds the title near, with a margin.

Under every rule years must agree, and under the last two the numbers in the titles as well: by letters alone,
"Toy Story (1995)" is nearer to "Toy Story 2 (1999)" than a title with its article moved is to itself.
What is ambiguous is a miss, never a guess. Not here: how titles are written (``titles.py``), and what a miss means.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rapidfuzz import fuzz, process

from weft.language.titles import Line, key_of, keys_of, numbers_in, shown, without_article, without_year, year_in

RULES = ("exact", "exact_year", "fuzzy", "similar", "ambiguous", "none")
"""How a line came to its item; with the last two it has none."""

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts in, float32 unit vectors [n, d] out."""

_CELLS = 4_000_000
"""Scores held at once: 16 MB of float32."""

_NOTHING = np.zeros(0, np.int64)


class Grounding(BaseModel):
    """How sure a match must be. Chosen by looking at titles of MovieLens, not by a score on a test split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fuzzy: float = Field(0.9, gt=0, le=1, description="Least similarity of spelling; 1 is equal.")
    fuzzy_margin: float = Field(0.04, ge=0, le=1, description="Least lead in spelling over the second-best item.")
    similar: float = Field(0.75, gt=0, le=1, description="Least cosine of sentence vectors.")
    similar_margin: float = Field(0.05, ge=0, le=1, description="Least lead in cosine over the second-best item.")
    longest: int = Field(200, ge=10, le=2_000, description="Characters of a line or title that are looked at.")


def ground(
    lines: Sequence[str | None], items: pl.DataFrame, encode: Encode | None = None, settings: Grounding | None = None
) -> pl.DataFrame:
    """Finds the item that each line names.

    Args:
        lines: One title each, with what a model writes around it: list marker, quotes, year.
        items: ``item``, ``title`` and ``year`` of schema ``Items``; without a year, one in the title counts.
        encode: Sentence encoder, or None for no third rule. Titles are encoded only if a line is left for it.
        settings: Thresholds and margins.

    Returns:
        ``answer`` (Int64, place of the line), ``item`` (Int32, null for a miss), ``rule`` (Enum), and ``score`` and
        ``runner_up`` (Float32): the best and the second-best item under the last rule that was tried; 1 and 0 for an
        exact title, 0 where nothing came near.
    """
    settings = settings or Grounding()
    index = _Index.of(items, settings.longest)
    asked = [Line.of(line, settings.longest) for line in lines]
    found: dict[Line, _Found] = {}
    left = [line for line in dict.fromkeys(asked) if line.keys]  # each line once, those that say nothing never
    for line in left:
        if hit := index.exact(line):
            found[line] = hit
    left = [line for line in left if line not in found]
    spelling = _Spelling(index, max(settings.fuzzy - settings.fuzzy_margin, 0))
    found |= zip(left, _search(left, spelling, settings.fuzzy, settings.fuzzy_margin, "fuzzy"), strict=True)
    left = [line for line in left if found[line].rule == "none"]
    if encode is not None and left and index.texts:
        meaning = _Meaning(index, encode, left)
        found |= zip(left, _search(left, meaning, settings.similar, settings.similar_margin, "similar"), strict=True)
    rows = [found.get(line, _Found(None, "none")) for line in asked]
    return pl.DataFrame(
        {
            "answer": pl.Series(range(len(rows)), dtype=pl.Int64),
            "item": pl.Series([row.item for row in rows], dtype=pl.Int32),
            "rule": pl.Series([row.rule for row in rows], dtype=pl.Enum(RULES)),
            "score": pl.Series([row.score for row in rows], dtype=pl.Float32),
            "runner_up": pl.Series([row.runner_up for row in rows], dtype=pl.Float32),
        }
    )


# ---- equal titles ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    item: int | None
    rule: str
    score: float = 0.0
    runner_up: float = 0.0


@dataclass
class _Index:
    """Titles by key. An item may stand under several keys, and a key for several items."""

    items: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))  # key: item: its year or 0
    texts: dict[int, tuple[str, int]] = field(default_factory=dict)  # item: title without year, year

    @classmethod
    def of(cls, items: pl.DataFrame, longest: int) -> _Index:
        index = cls()
        for item, stated, year in items.select("item", "title", "year").iter_rows():
            title = shown(stated, longest)
            when = year_in(title) or year or 0  # an answer repeats what stands in the title
            for key in keys_of(title):
                index.items[key][item] = when
                index.texts[item] = without_year(title), when
        return index

    def exact(self, line: Line) -> _Found | None:
        """The item of the first key that stands in the catalogue, with its article or without."""
        wrong_year = None
        for key in line.keys:
            for same in (self.items.get(key), self.bare.get(without_article(key))):
                if same:
                    hit = _one_of(same, line.year)
                    if hit.rule != "none":
                        return hit
                    wrong_year = hit
        return wrong_year

    @cached_property
    def bare(self) -> dict[str, dict[int, int]]:
        """The same without leading articles: "Matrix" is "The Matrix" if there is nothing called "Matrix"."""
        bare: dict[str, dict[int, int]] = defaultdict(dict)
        for key, same in self.items.items():
            bare[without_article(key)].update(same)
        return bare


def _one_of(same: dict[int, int], year: int) -> _Found:
    """The one item among those of an equal title that the year leaves; ``none`` if it leaves no item."""
    agreed = [item for item, when in same.items() if year and when == year]
    open_ = [item for item, when in same.items() if not (year and when)]
    left = agreed or open_
    if len(left) == 1:
        return _Found(left[0], "exact_year" if agreed else "exact", 1.0)
    return _Found(None, "ambiguous", 1.0, 1.0) if left else _Found(None, "none")


# ---- nearly the same -------------------------------------------------------------------------------------------


class _Near(Protocol):
    """A way to compare lines with titles: row i of it is a title of item ``item[i]``, of year ``year[i]`` or 0."""

    item: NDArray[np.int64]
    year: NDArray[np.int64]

    def rows(self, lines: Sequence[Line]) -> NDArray[np.int64]:
        """The rows that can be near one of these lines, whose numbers are all the same."""

    def scores(self, lines: Sequence[Line], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [lines, rows], 1 is equal."""


class _Spelling:
    """By letters: every key of every item. Rows lie by numbers and length, so that few are looked at."""

    def __init__(self, index: _Index, least: float) -> None:
        rows = [(key, item, year) for key, same in index.items.items() for item, year in same.items()]
        rows.sort(key=lambda row: len(row[0]))
        self.keys = [key for key, _, _ in rows]
        self.item = np.array([item for _, item, _ in rows], np.int64)
        self.year = np.array([year for _, _, year in rows], np.int64)
        self._least = least
        self._length = np.array([len(key) for key in self.keys], np.int64)
        self._of = _by_numbers(map(numbers_in, self.keys))

    def rows(self, lines: Sequence[Line]) -> NDArray[np.int64]:
        """Similarity is 2 · common / (a + b), so lengths that differ more than this cannot reach ``least``."""
        reach = max(self._least / (2 - self._least), 1e-3)
        lengths = [len(line.spelled) for line in lines]
        rows = self._of.get(lines[0].numbers, _NOTHING)
        first, end = np.searchsorted(self._length[rows], [min(lengths) * reach - 0.5, max(lengths) / reach + 0.5])
        return rows[first:end]

    def scores(self, lines: Sequence[Line], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Normalised indel similarity; 0 below ``least``."""
        asked, titles = [line.spelled for line in lines], [self.keys[row] for row in rows]
        near: NDArray[np.float32] = process.cdist(
            asked, titles, scorer=fuzz.ratio, score_cutoff=100 * self._least, dtype=np.float32
        )
        near /= 100
        return near


class _Meaning:
    """By sentence vectors: one title of every item."""

    def __init__(self, index: _Index, encode: Encode, lines: Sequence[Line]) -> None:
        titles = [title for title, _ in index.texts.values()]
        self.item = np.array(list(index.texts), np.int64)
        self.year = np.array([year for _, year in index.texts.values()], np.int64)
        self._of = _by_numbers(numbers_in(key_of(title)) for title in titles)
        self._titles = encode(titles)
        self._lines = dict(zip(lines, encode([line.text for line in lines]), strict=True))

    def rows(self, lines: Sequence[Line]) -> NDArray[np.int64]:
        """Every title with the same numbers."""
        return self._of.get(lines[0].numbers, _NOTHING)

    def scores(self, lines: Sequence[Line], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines."""
        cosines: NDArray[np.float32] = np.stack([self._lines[line] for line in lines]) @ self._titles[rows].T
        return cosines


def _by_numbers(told: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], NDArray[np.int64]]:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, numbers in enumerate(told):
        groups[numbers].append(row)
    return {numbers: np.array(rows) for numbers, rows in groups.items()}


def _search(lines: Sequence[Line], near: _Near, least: float, margin: float, rule: str) -> Iterator[_Found]:
    """For each line the item that is near enough and clearly nearer than all others, or why there is none."""
    found: dict[Line, _Found] = {}
    order = sorted(lines, key=lambda line: (line.numbers, len(line.spelled)))
    for _, alike in groupby(order, key=lambda line: line.numbers):
        same = list(alike)
        start = 0
        while start < len(same):
            # Lines of about one length look at few rows together.
            block = max(1, min(128, _CELLS // max(1, len(near.rows(same[start : start + 128])))))
            part = same[start : start + block]
            start += block
            rows = near.rows(part)
            best = _best_two(near, part, rows) if len(rows) else [(0, 0.0, 0.0)] * len(part)
            for line, (item, score, second) in zip(part, best, strict=True):
                clear = score - second >= margin
                found[line] = _Found(
                    item if score >= least and clear else None,
                    "none" if score < least else rule if clear else "ambiguous",
                    score,
                    second,
                )
    return (found[line] for line in lines)


def _best_two(near: _Near, lines: Sequence[Line], rows: NDArray[np.int64]) -> list[tuple[int, float, float]]:
    """Best item of each line, its score, and the score of the best other item."""
    item, year = near.item[rows], near.year[rows]
    asked = np.array([line.year for line in lines])[:, None]
    scores = near.scores(lines, rows)
    if asked.any():
        scores[(asked > 0) & (year > 0) & (asked != year)] = 0
    best = scores.argmax(1)
    top = scores[np.arange(len(lines)), best]
    scores[item == item[best][:, None]] = 0
    second = scores.max(1)
    return list(zip(item[best].tolist(), top.tolist(), second.tolist(), strict=True))
