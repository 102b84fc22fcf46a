"""What a title says when its writing does not count: keys to compare by, numbers, and a year.

Used for both sides, the catalogue's titles and the lines that a model writes. Not here: comparing (``grounding.py``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_DIGITS = re.compile(r"\d{1,18}")
_YEAR = re.compile(r"[(\[]\s*(1[89]\d\d|20\d\d)\s*[)\]]")
_DASHES, _QUOTES = "\u2013\u2014\u2022", '"\u201c\u201d\u201e\u00ab\u00bb'
_MARKER = re.compile(rf"^\s*(?:[-*{_DASHES}]|\(?\d{{1,3}}[.)])\s+")
_QUOTED = re.compile(rf"[{_QUOTES}]([^{_QUOTES}]{{2,}})[{_QUOTES}]")
_ASIDE = re.compile(r"\(([^()]*)\)")
_ARTICLES = "the|a|an|le|la|les|l'|il|lo|gli|el|los|las|der|die|das|den|det|un|une|una|ein|eine|o|os"
_TRAILING = re.compile(rf"^(.*\S),\s*({_ARTICLES})\s*$", re.IGNORECASE)
_LEADING = re.compile(r"^(?:the|a|an) (?=.)")
_ROMAN = ("ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")
_SPELLED = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_VALUES = {word: n for n, word in enumerate(_ROMAN, 2)} | {word: n for n, word in enumerate(_SPELLED, 1)}


@dataclass(frozen=True)
class Line:
    """A line that may name an item.

    Attributes:
        keys: Possible keys in order of trust: of the line as it stands, of it without list marker, of that without
            parentheses, of what stands in quotes, of what stands before a year. Empty where the line says nothing.
        spelled: The key without list marker.
        numbers: The numbers in ``spelled``, sorted.
        year: 0 without.
        text: The line without list marker and year.
    """

    keys: tuple[str, ...]
    spelled: str
    numbers: tuple[int, ...]
    year: int
    text: str

    @classmethod
    def of(cls, line: str | None, longest: int) -> Line:
        """Reads at most ``longest`` characters of a line."""
        whole = shown(line, longest)
        text = _MARKER.sub("", whole).strip()
        quoted, told = _QUOTED.search(text), _YEAR.search(text)
        spelled = key_of(text)
        readings = (
            key_of(whole),
            spelled,
            key_of(_ASIDE.sub(" ", text)),
            key_of(quoted[1] if quoted else ""),
            key_of(text[: told.end() if told else 0]),
        )
        keys = tuple(dict.fromkeys(key for key in readings if key))
        return cls(keys, spelled, numbers_in(spelled), year_in(text), without_year(text))


def listed(answer: str, most: int = 50) -> list[str]:
    """The lines of an answer that can name an item, without list markers, at most ``most``.

    Where some lines are marked (``1.``, ``-``), only these count: the rest is small talk around the list.
    """
    lines = [line for line in answer.splitlines() if line.strip()]
    marked = [line for line in lines if _MARKER.match(line)]
    return [_MARKER.sub("", line).strip() for line in (marked or lines)[:most]]


def first_line(answer: str) -> str:
    """The first line that can name an item; empty where there is none."""
    return next(iter(listed(answer, 1)), "")


def shown(text: str | None, longest: int) -> str:
    """At most ``longest`` characters without those that nobody sees; compatibility forms as their plain ones."""
    plain = unicodedata.normalize("NFKC", (text or "")[: 4 * longest])
    if not plain.isprintable():
        plain = "".join(" " if c.isspace() else c for c in plain if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(plain.split())[:longest]


def key_of(title: str) -> str:
    """What is left of a title when case, accents, punctuation, year and the place of its article do not count."""
    title = without_year(title)
    if moved := _TRAILING.match(title):
        title = f"{moved[2]} {moved[1]}"
    text = title.casefold()
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    # An apostrophe joins ("Bug's"), an ampersand is a word, everything else separates.
    text = re.sub("['\u2019`]", "", text.replace("&", " and "))
    return " ".join(re.sub(r"[\W_]+", " ", text).split())


def without_article(key: str) -> str:
    """A key without an English article at its start; a key that is nothing else stays."""
    return _LEADING.sub("", key)


def keys_of(title: str) -> list[str]:
    """Keys of a catalogue title: as it stands, without its parentheses, and of other titles in parentheses.

    "City of Lost Children, The (Cité des enfants perdus, La)" has three.
    """
    return list(dict.fromkeys(key for key in map(key_of, _titles(without_year(title))) if key))


def _titles(title: str) -> Iterator[str]:
    yield title
    yield _ASIDE.sub(" ", title)
    for aside in _ASIDE.findall(title):
        yield re.sub(r"^\s*a\.?k\.?a\.?\s+", "", aside, flags=re.IGNORECASE)


def numbers_in(key: str) -> tuple[int, ...]:
    """The numbers in a key, sorted: digits, also inside a word ("30ml"), Roman numerals from II on, number words."""
    words = key.split()
    told = [_VALUES[word] for word in words if word in _VALUES]
    told += [int(digits) for word in words if word not in _VALUES for digits in _DIGITS.findall(word)]
    return tuple(sorted(told))


def year_in(title: str) -> int:
    """The first year in parentheses; 0 without."""
    told = _YEAR.search(title)
    return int(told[1]) if told else 0


def without_year(title: str) -> str:
    """The title without years in parentheses, blanks collapsed."""
    return " ".join(_YEAR.sub(" ", title).split())
