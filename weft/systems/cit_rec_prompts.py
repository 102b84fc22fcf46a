"""CIT-Rec's prompts: task, user token, liked and disliked items with their tokens, candidate (its section on prompts).

A variant is what is left out of a prompt. Titles are the catalogue's, sanitised; a token is a ``SLOT`` in the text
and the number of the item (0: the user) in ``slots``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from weft.errors import RequestError
from weft.evaluation.protocols import Protocol
from weft.language.prompts import Template, item_words, template
from weft.language.sanitise import sanitise
from weft.language.tokens import SLOT
from weft.schemas import CitRecPrompts
from weft.systems import candidates
from weft.systems.registry import SYSTEMS, Variant
from weft.systems.settings import PromptSettings

USER = 0
"""The user's token in ``slots``; items are numbered from 1."""

HELD = ("validation", "test")

_ATTRIBUTES = 80  # characters


def prompts(
    rule: Protocol,
    splits: pl.DataFrame,
    items: pl.DataFrame,
    stated: pl.Series,
    variant: str,
    settings: PromptSettings,
    seed: int,
    negatives: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One prompt per judged row (schema ``CitRecPrompts``): drawn training rows, all of validation and test.

    Args:
        rule: A pointwise protocol, or one that ranks among a few (``candidates.py``).
        splits: What it made of the interactions (schema ``Splits``).
        items: Schema ``Items``.
        stated: Rows that have a user state. Of the training rows these alone are drawn, for every variant, so that
            all of them learn from the same.
        variant: One of the registry's.
        settings: Rows, history, template.
        seed: Of the draw.
        negatives: What a ranking protocol drew (schema ``Negatives``).

    Raises:
        RequestError: If the protocol has no labelled pairs, or there is no such template.
    """
    if rule.kind == "pointwise":
        known = splits.filter(pl.col("label").is_not_null())
        parts = _judged(rule, splits, stated, settings, seed)
    elif negatives is not None:
        known = splits.with_columns(label=pl.lit(value=True))
        parts = {"train": candidates.learnt(rule, splits, items, stated, settings, seed)}
        parts |= {held: candidates.asked(rule, splits, negatives, held, settings.history) for held in HELD}
    else:
        raise RequestError(f"protocol '{rule.name}' has no labelled pairs", "use the protocol 'pointwise_time'")
    told = dict(zip(known["row"], known.select("item", "label").iter_rows(), strict=True))
    form = template("cit_rec", settings.prompt)
    writer = _Writer(form, SYSTEMS["cit_rec"].variants[variant], _words(items, form, attributes=settings.attributes))
    asked = []
    for split, part in parts.items():
        for row, user, item, label, before in part.iter_rows():
            content, slots = writer.message([told[earlier] for earlier in before], item)
            message = [{"role": "user", "content": content}]
            asked.append((row, split, user, item, label, form.stamp, message, slots))
    return CitRecPrompts.cast(pl.DataFrame(asked, schema=CitRecPrompts.create_empty().schema, orient="row"))


def _judged(
    rule: Protocol, splits: pl.DataFrame, stated: pl.Series, settings: PromptSettings, seed: int
) -> dict[str, pl.DataFrame]:
    """The labelled rows of each part that are asked about; of training as many as the settings say."""
    train = rule.judged(splits, "train", settings.history).filter(pl.col("row").is_in(stated.implode()))
    if settings.rows:
        drawn = np.random.default_rng(seed).permutation(len(train))[: settings.rows]
        train = train[np.sort(drawn)]
    return {"train": train} | {held: rule.judged(splits, held, settings.history) for held in HELD}


def _words(items: pl.DataFrame, form: Template, *, attributes: bool) -> dict[int, dict[str, str]]:
    """Title and, where they are wanted and there are any, attributes of every item."""
    words = {item: {"title": said["title"], "attributes": ""} for item, said in item_words(items).items()}
    if attributes:
        for item, genres in items.select("item", "genres").iter_rows():
            said = sanitise(", ".join(genre for genre in genres or [] if genre), _ATTRIBUTES)
            words[item]["attributes"] = form.part("attributes", attributes=said) if said else ""
    return words


class _Writer:
    """Writes the prompts of one variant in the words of one template."""

    def __init__(self, form: Template, variant: Variant, words: Mapping[int, Mapping[str, str]]) -> None:
        self._form, self._variant = form, variant
        tokens, titles = variant.has("item_tokens"), variant.has("titles")
        entry = "both" if tokens and titles else "token" if tokens else "title"
        # A template may be shorter about what was liked before than about what is asked.
        self._told = {item: form.part(f"told_{entry}", token=SLOT, **each) for item, each in words.items()}
        self._asked = {item: form.part(entry, token=SLOT, **each) for item, each in words.items()}
        self._user = form.part("user", token=SLOT) if variant.has("user_token") else ""
        self._closing = form.part("answer" if variant.has("fit") else "reason")
        # Slots are told in the order in which they stand in the text, whatever order the template chooses.
        places = ("{user}", "{liked}", "{disliked}", "{target}")
        self._order = sorted((place.strip("{}") for place in places if place in form.text), key=self._place)

    def _place(self, name: str) -> int:
        return self._form.text.index(f"{{{name}}}")

    def message(self, before: list[tuple[int, bool]], target: int) -> tuple[str, list[int]]:
        """The text of a prompt and whose vector stands in each of its slots, in order."""
        told = {
            "liked": [item for item, liked in before if liked],
            "disliked": [item for item, liked in before if not liked],
            "target": [target],
        }
        words = {name: self._listed(told[name]) for name in ("liked", "disliked")} | {"target": self._asked[target]}
        content = self._form.message(user=self._user, closing=self._closing, **words)[0]["content"].strip()
        held = {"user": [USER]} if self._variant.has("user_token") else {}
        held |= told if self._variant.has("item_tokens") else {}
        return content, [slot for name in self._order for slot in held.get(name, [])]

    def _listed(self, items: list[int]) -> str:
        if not items:
            return self._form.part("none")
        return self._form.between.join(self._told[item] for item in items)
