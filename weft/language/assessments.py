"""What a language model says it would have to know to judge a pair (SCoRe eq. 7): prompts, and answers read.

Only training rows are asked about, so nothing that is read here can tell of a validation or test row.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.errors import RequestError
from weft.evaluation.protocols import Protocol
from weft.language import answers
from weft.language.prompts import item_words, template, with_title
from weft.schemas import AssessmentPrompts, SelfAssessments


def prompts(
    rule: Protocol, splits: pl.DataFrame, items: pl.DataFrame, version: str, *, n: int, seed: int = 0, last: int = 20
) -> pl.DataFrame:
    """One prompt for each of ``n`` sampled training rows (schema ``AssessmentPrompts``), in the order of the splits.

    Args:
        rule: A pointwise protocol.
        splits: What it made of the interactions (schema ``Splits``).
        items: Schema ``Items``.
        version: Of the template.
        n: Rows drawn without replacement among those with a history and a titled item; at most all of them.
        seed: Of the draw.
        last: Most liked items that are shown, the newest.

    Raises:
        RequestError: If the protocol has no labelled pairs, or there is no such version.
    """
    form = template("assessment", version)
    liked, first, end = histories(rule, splits)
    train = splits.filter(pl.col("split") == "train").select("row", "user", "item")
    titled = train["item"].is_in(with_title(items).implode()).to_numpy()
    known = np.flatnonzero((end > first) & titled)
    drawn = np.sort(np.random.default_rng(seed).choice(known, min(n, len(known)), replace=False))
    words = item_words(items)
    asked = []
    for place, (row, user, item) in zip(drawn.tolist(), train[drawn].iter_rows(), strict=True):
        history = form.listed([words[i] for i in liked[max(first[place], end[place] - last) : end[place]].tolist()])
        target = words[item]
        message = form.message(history=history, target=target["title"], target_dated=target["dated"])
        asked.append((row, user, item, form.stamp, message))
    return AssessmentPrompts.cast(pl.DataFrame(asked, schema=AssessmentPrompts.create_empty().schema, orient="row"))


def histories(rule: Protocol, splits: pl.DataFrame) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """The liked items of all users, and for each training row where its history begins and ends among them.

    A history is what the protocol shows of the user at that row, and of that only what was liked before the row's
    second: CoLLM's own histories hold likes of the same second.

    Raises:
        RequestError: If the protocol has no labelled pairs.
    """
    if rule.kind != "pointwise":
        raise RequestError(f"protocol '{rule.name}' has no labelled pairs", "use the protocol 'pointwise_time'")
    events = rule.events(splits, *(int(splits[name].to_numpy().max(initial=0)) for name in ("user", "item")))
    liked = events.positives
    first, end = np.zeros((2, 0), np.int64) if events.history is None else events.history.T
    if events.timestamp is not None and liked.timestamp is not None and len(liked):
        # Likes of the row's own second stand at the end of its history: step back to where that second begins.
        new = np.append(True, np.diff(liked.timestamp) != 0)
        begins = np.maximum.accumulate(np.where(new, np.arange(len(liked)), 0))
        now = (end > first) & (liked.timestamp[end - 1] == events.timestamp)
        end = np.where(now, np.maximum(begins[end - 1], first), end)
    return liked.item, first, end


def parse(generations: pl.DataFrame) -> pl.DataFrame:
    """The answers read (schema ``SelfAssessments``).

    An answer that cannot be read gives no text, and its row orders no candidates (SCoRe eq. 9).

    Args:
        generations: Schema ``AssessmentGenerations``.
    """
    return SelfAssessments.cast(generations.with_columns(text=answers.read(generations, answers.prose)))
