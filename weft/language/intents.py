"""What a session is after, in a language model's words (LLM4SBR, arXiv:2402.13840, eq. 1): prompts, and answers read.

A prompt shows the clicks before the one that the session is asked for, never that one and nothing after it; of a
training session that is the last click. Such an answer belongs to the whole of these clicks: given to a shorter prefix
of the session it would tell of its target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from weft.errors import RequestError
from weft.evaluation.protocols import Protocol
from weft.language import answers
from weft.language.prompts import item_words, template, with_title
from weft.schemas import VIEWS, IntentInferences, IntentPrompts

Ground = Callable[[Sequence[str]], pl.DataFrame]
"""Names in; ``answer`` (place of the name), ``item`` (null for none) and ``rule`` out."""


def shown(rule: Protocol, splits: pl.DataFrame) -> pl.DataFrame:
    """``session``, ``items`` (oldest first) and ``target`` of every session that is trained on or asked.

    With several targets in a session, the first counts. Where ``rule.strict_time`` holds, clicks of the target's second
    are not shown. Sessions of which nothing is left are not in it.

    Args:
        rule: A protocol whose histories stay inside a session.
        splits: What it made of the interactions (schema ``Splits``).

    Raises:
        RequestError: If the protocol has no sessions.
    """
    if rule.grouped_by != "session":
        raise RequestError(f"protocol '{rule.name}' has no sessions to ask about", "use the protocol 'sessions'")
    last = pl.int_range(pl.len()).over("session") == pl.len().over("session") - 1
    used = splits.lazy().filter(pl.col("session").is_not_null() & (pl.col("split") != "unused"))
    rows = used.sort("session", "timestamp", "row").with_columns(
        asked=pl.when(pl.col("split") == "train").then(last).otherwise("target")
    )
    before = pl.col("asked").cum_sum().over("session") == 0
    first = pl.col("asked").cum_sum().over("session").eq(1) & pl.col("asked")
    moment = pl.col("timestamp").filter(first).first().over("session")
    if rule.strict_time:
        before &= (pl.col("timestamp") < moment).fill_null(value=True)
    return (
        rows.with_columns(before=before, first=first)
        .group_by("session", maintain_order=True)
        .agg(items=pl.col("item").filter("before"), target=pl.col("item").filter("first").first())
        .filter(pl.col("target").is_not_null() & (pl.col("items").list.len() > 0))
        .collect()
    )


def prompts(
    rule: Protocol,
    splits: pl.DataFrame,
    items: pl.DataFrame,
    version: str,
    *,
    views: Sequence[str] = VIEWS,
    last: int = 20,
    most: int = 0,
) -> pl.DataFrame:
    """One prompt per session and view (schema ``IntentPrompts``), by session; none where no click has a title.

    Args:
        rule: A protocol whose histories stay inside a session.
        splits: What it made of the interactions (schema ``Splits``).
        items: Schema ``Items``.
        version: Of the template.
        views: Which of its views are asked for.
        last: Most clicks that are shown, the newest.
        most: Most sessions that are asked about, at even distances from the first to the last; 0 is all.

    Raises:
        RequestError: If the protocol has no sessions, or there is no such version or view.
    """
    form = template("intent", version)
    if unknown := sorted(set(views) - set(form.views)):
        raise RequestError(f"prompt 'intent/{version}' has no view '{unknown[0]}'", f"views: {', '.join(form.views)}")
    words, named = item_words(items), with_title(items)
    sessions = shown(rule, splits).filter(pl.col("items").list.eval(pl.element().is_in(named.implode())).list.any())
    if most:
        sessions = sessions.gather_every(max(-(-len(sessions) // most), 1))
    asked = []
    for session, clicked, _ in sessions.iter_rows():
        listed = form.listed([words[item] for item in clicked[-last:]])
        asked += [(session, view, form.stamp, form.message(items=listed, view=form.views[view])) for view in views]
    return IntentPrompts.cast(pl.DataFrame(asked, schema=IntentPrompts.create_empty().schema, orient="row"))


def parse(generations: pl.DataFrame, ground: Ground) -> pl.DataFrame:
    """The answers read and grounded (schema ``IntentInferences``).

    An answer that cannot be read gives no text and no item, by the rule ``none``.

    Args:
        generations: Schema ``IntentGenerations``.
        ground: Finds the item that a name means; asked once for each different name.
    """
    read = generations.with_columns(text=answers.read(generations, answers.name))
    names = read["text"].drop_nulls().unique(maintain_order=True)
    found = ground(names.to_list()) if len(names) else pl.DataFrame(schema={"item": pl.Int32, "rule": pl.String})
    by_name = pl.DataFrame({"text": names, "item": found["item"], "rule": found["rule"].cast(pl.String)})
    grounded = read.join(by_name, on="text", how="left", maintain_order="left")
    return IntentInferences.cast(grounded.with_columns(pl.col("rule").fill_null("none")))


def summary(inferences: pl.DataFrame, asked: pl.DataFrame) -> dict[str, float]:
    """What an asset says of its inferences, as shares of all of them.

    ``answered`` could be read, ``grounded`` name an item, ``invented`` name none, ``target`` name the very item that
    the session goes on with: answers are no labels, and they may echo what is popular.

    Args:
        inferences: Schema ``IntentInferences``.
        asked: What ``shown`` gives.
    """
    rows = inferences.join(asked.select("session", "target"), on="session", how="left")
    answered, grounded = rows["text"].is_not_null(), rows["item"].is_not_null()
    hit = (rows["item"] == rows["target"]).fill_null(value=False)
    shares = {"answered": answered, "grounded": grounded, "invented": answered & ~grounded, "target": hit}
    return {share: float(where.mean() or 0) for share, where in shares.items()}  # type: ignore[arg-type]
