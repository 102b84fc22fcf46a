"""Prompts as token ids, in which text stays text.

A chat template turns turns into one string with special tokens between them (``<|im_start|>``, ``</s>``). Whoever
writes such a token into a title must not open a turn of their own: special tokens come from the template alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, cast

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from weft.errors import RequestError
from weft.language.engine import Message, Prompt, Role

SLOT = "\ufffc"
"""Stands in a content where a vector takes a token's place: Unicode's own character for an embedded object."""
SLOT_ID = -1
"""What a slot is in a list of token ids."""

_MARK = "\ue000{}\ue001"  # private use: no template knows it
_MARKED = re.compile("\ue000(\\d+)\ue001")
_DATE = "26 Jul 2024"  # Llama 3 writes the day into its prompts; answers must not be new ones tomorrow


class PromptTokens:
    """Token ids of prompts and texts.

    Args:
        tokenizer: Of the ``tokenizers`` library. Its chat template is used where it has one; else a prompt is its
            contents, one per line.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        # Some tokenizers add runs of spaces as tokens; these say nothing about roles.
        added = ((str(token), place) for place, token in tokenizer.added_tokens_decoder.items())
        self._added = {text: place for text, place in added if text.strip()}
        longest_first = sorted(self._added, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        # Between slots stand the same titles again and again, in the same few frames.
        self._frame = lru_cache(16)(self._rendered_frame)
        self._part = lru_cache(100_000)(self._tokens_of)

    def prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt that ends where the answer begins; a slot is ``SLOT_ID``.

        The rendered prompt is tokenised as a whole. Only where that gives other special tokens than the template's
        own are template and contents told apart.

        Raises:
            RequestError: If the chat template refuses the roles or their order.
        """
        if not self._tokenizer.chat_template:
            return self.text("\n".join(message["content"] for message in prompt))
        messages = prompt if self._knows_system else _without_system(prompt)
        frame = self._frame(tuple(message["role"] for message in messages))
        contents = [message["content"] for message in messages]
        if SLOT not in "".join(contents):
            ids = self._ids(self._render(messages))
            own = [self._added[text] for text in self._special.findall(frame)]
            if [token for token in ids if token in self._known] == own:
                return ids
        return self._apart(frame, contents)

    def text(self, text: str) -> list[int]:
        """Token ids of a text that stands alone, after the tokens that begin any text; a slot is ``SLOT_ID``."""
        return self._tokenizer("")["input_ids"] + self._plain(text)

    def answer(self, text: str) -> list[int]:
        """Token ids of a text that goes on after a prompt."""
        return self._tokens_of(text)

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self._added.values())

    @cached_property
    def _textual(self) -> Tokenizer:
        """The same tokenizer without added tokens: nothing in a text is special to it."""
        description = json.loads(self._tokenizer.backend_tokenizer.to_str())
        return Tokenizer.from_str(
            json.dumps({**description, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None})
        )

    @cached_property
    def _knows_system(self) -> bool:
        """Whether the template takes a system turn, and does not silently leave it out."""
        marks = [_MARK.format(0), _MARK.format(1)]
        probe = [Message(role="system", content=marks[0]), Message(role="user", content=marks[1])]
        try:
            return all(mark in self._render(probe) for mark in marks)
        except RequestError:
            return False

    def _rendered_frame(self, roles: tuple[Role, ...]) -> str:
        """What the template makes of turns whose contents are marks."""
        return self._render([Message(role=role, content=_MARK.format(place)) for place, role in enumerate(roles)])

    def _render(self, messages: Prompt) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    cast("Any", messages),
                    tokenize=False,
                    add_generation_prompt=True,
                    date_string=_DATE,
                )
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise RequestError(
                f"the model's chat template refuses the roles {roles}: {error}",
                "end a prompt with a user's turn, and let user and assistant take turns before it",
            ) from error

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _tokens_of(self, text: str) -> list[int]:
        ids = self._ids(text)
        if self._known.isdisjoint(ids):
            return ids
        return [token for token in self._textual.encode(text).ids if token not in self._known]

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = []
        for place, part in enumerate(text.split(SLOT)):
            ids += [SLOT_ID] * (place > 0) + (self._part(part) if part else [])
        return ids

    def _apart(self, frame: str, contents: Sequence[str]) -> list[int]:
        """Token ids where special tokens are looked for in the template's own text only.

        Raises:
            RequestError: If the template does not show every content as it is.
        """
        ids: list[int] = []
        text = ""
        parts = _MARKED.split(frame)  # template, number, template, number, …, template
        for place, part in enumerate(parts):
            if place % 2:
                text += contents[int(part)]
                continue
            begin = 0
            for found in self._special.finditer(part):
                ids += [*self._plain(text + part[begin : found.start()]), self._added[found.group()]]
                text, begin = "", found.end()
            text += part[begin:]
        if len(parts) // 2 < len(contents):
            raise RequestError("the model's chat template leaves a turn out", "use another model or template")
        return ids + self._plain(text)


def _without_system(prompt: Prompt) -> list[Message]:
    """The prompt with its system text at the head of the first user turn, for templates that know no such role."""
    system = "\n\n".join(message["content"] for message in prompt if message["role"] == "system")
    turns = [Message(role=message["role"], content=message["content"]) for message in prompt]
    turns = [turn for turn in turns if turn["role"] != "system"]
    if system and turns:
        turns[0]["content"] = f"{system}\n\n{turns[0]['content']}"
    return turns
