"""Text that others wrote, made harmless before it stands in a prompt: one bounded line, unable to become anything else.

Catalogue text is data, never an instruction. Here it loses what could make a model, a tokenizer or a reader see
something else in it: invisible characters, changes of direction, line breaks, and the characters that special tokens
and quotation marks are made of. It can still say "ignore all instructions"; it cannot leave its quotes, start a line,
or speak in another role.
"""

from __future__ import annotations

import unicodedata

# Every special token of the known tokenizers stands in angle or square brackets (<|im_end|>, </s>, <<SYS>>, [INST]),
# some in full-width ones. Without brackets no text looks like a token, whatever the tokenizer calls its own.
_BRACKETS = str.maketrans("<\uff1c\u27e8\u3008>\uff1e\u27e9\u3009[\uff3b]\uff3d", "\u2039" * 4 + "\u203a" * 4 + "(())")
# Templates quote with double quotes, so a text has none.
_QUOTES = str.maketrans(dict.fromkeys('"“”„‟«»\uff02`', "'"))
# Shown as nothing, although Unicode counts them as letters or marks.
_BLANK = set("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0")
_BLANK.add("\ufffc")  # where a vector takes a token's place (``SLOT``): a text must not ask for one
_BLANK |= {chr(point) for point in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}  # variation selectors

_READ = 8
"""Of a text, so many times the limit is looked at: 100 kB of blanks cost no more than a title."""


def sanitise(text: str | None, limit: int = 200) -> str:
    """One line of at most ``limit`` characters; empty for None and for text that shows nothing.

    Composed (NFC), without control, format, private and variation characters, blanks collapsed. Brackets that special
    tokens are made of become ``‹ ›`` or ``( )``, double quotes become single ones, and a semicolon before a blank
    becomes a comma, because lists are joined with ``; ``. What is longer ends at a word, with ``…``.
    A text that came out of here comes out unchanged.
    """
    read = (text or "")[: _READ * limit]
    shown = unicodedata.normalize("NFC", read.translate(_SHOWN))
    line = " ".join(shown.translate(_BRACKETS).translate(_QUOTES).split())
    line = line.replace("; ", ", ").rstrip(" ;")
    more = line and len(text or "") > len(read)
    return _cut(f"{line} …" if more else line, limit)


def _cut(line: str, limit: int) -> str:
    if len(line) <= limit:
        return line
    head = line[: limit - 1]
    # At a word, unless that loses half of it: some languages have no blanks.
    if line[limit - 1] != " " and head.rfind(" ") > limit // 2:
        head = head[: head.rfind(" ")]
    return head.rstrip(" ;…") + "…"


class _Shown(dict[int, str | None]):
    """For ``str.translate``: each character that is met, itself, a blank (line ends and tabs too), or nothing."""

    def __missing__(self, point: int) -> str | None:
        character = chr(point)
        hidden = character in _BLANK or unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co"}
        self[point] = " " if character.isspace() else None if hidden else character
        return self[point]


_SHOWN = _Shown()
