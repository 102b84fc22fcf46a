"""CIT-Rec's listwise mode: one true item among a few, judged one by one by the same prompts.

It learns from training rows with something before them: the item that came next, labelled liked, and beside it one
drawn item, labelled not. It is asked about the target and every item that the protocol drew for it. What stands in a
history counts as liked, whatever its rating. Each candidate is scored alone, so its place in the list has no say.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from weft.data.sequences import Queries
from weft.errors import WeftError
from weft.evaluation.protocols import Protocol
from weft.evaluation.ranking import Scorer
from weft.systems.settings import PromptSettings


def learnt(
    rule: Protocol, splits: pl.DataFrame, items: pl.DataFrame, stated: pl.Series, settings: PromptSettings, seed: int
) -> pl.DataFrame:
    """Training rows: ``row``, ``user``, ``item``, ``label`` and ``before``, each row twice, the true item first.

    The drawn item is one of the true item's domain that occurs in training and in no training row of the session (of
    the user, where nobody is cut into sessions); a row for which there is none is left out.

    Args:
        rule: A protocol that ranks.
        splits: What it made of the interactions (schema ``Splits``).
        items: Columns ``item`` and ``domain``.
        stated: Rows that have a user state; the others are not learnt from.
        settings: ``rows`` counts prompts, so half as many rows are drawn.
        seed: Of both draws.
    """
    rng = np.random.default_rng(seed)
    rows = rule.judged(splits, "train", max(settings.history, 1))
    rows = rows.filter(pl.col("row").is_in(stated.implode()) & (pl.col("before").list.len() > 0))
    rows = rows.with_columns(pl.col("before").list.tail(settings.history))
    if settings.rows:
        rows = rows[np.sort(rng.permutation(len(rows))[: (settings.rows + 1) // 2])]
    train = splits.filter(split="train").select("row", "item", group=rule.grouped_by)
    asked = rows.select("row", "item").join(train.select("row", "group"), on="row", maintain_order="left")
    other = pl.Series("item", list(_drawn(asked, train, items, rng)), pl.Int32)
    true, drawn = rows.with_columns(label=pl.lit(value=True)), rows.with_columns(other, label=pl.lit(value=False))
    there = other.is_not_null()
    return pl.concat([true.filter(there), drawn.filter(there)]).sort("row", maintain_order=True)


def _drawn(
    asked: pl.DataFrame, train: pl.DataFrame, items: pl.DataFrame, rng: np.random.Generator
) -> Iterator[int | None]:
    """An item for each row of ``asked`` that its group did not take."""
    domain = dict(items.select("item", pl.col("domain").fill_null("")).iter_rows())
    known = train.select(pl.col("item").unique().sort())
    pools: dict[str, list[int]] = {}
    for item in known["item"]:
        pools.setdefault(domain[item], []).append(item)
    groups = train.filter(pl.col("group").is_in(asked["group"].implode())).group_by("group").agg("item")
    taken = {group: set(own) for group, own in groups.iter_rows()}
    for _, item, group in asked.iter_rows():
        pool, own = pools[domain[item]], taken[group]
        if len(own.intersection(pool)) == len(pool):
            yield None
            continue
        while (other := pool[rng.integers(len(pool))]) in own:
            pass
        yield other


def asked(rule: Protocol, splits: pl.DataFrame, negatives: pl.DataFrame, split: str, history: int) -> pl.DataFrame:
    """Rows of one held-out part, in the same columns: each target, then the items that were drawn for it.

    Args:
        rule: The protocol.
        splits: Schema ``Splits``.
        negatives: Schema ``Negatives``.
        split: ``validation`` or ``test``.
        history: Most rows before.

    Raises:
        WeftError: If a target has no drawn items.
    """
    true = rule.judged(splits, split, history).with_columns(label=pl.lit(value=True))
    drawn = true.join(negatives.select("query", "items"), left_on="row", right_on="query", how="left")
    if drawn["items"].null_count():
        raise WeftError("a target has no drawn items", "make interactions.negatives again, or run weft again")
    drawn = drawn.explode("items").drop_nulls("items").with_columns(item="items", label=pl.lit(value=False))
    return pl.concat([true, drawn.select(true.columns)]).sort("row", maintain_order=True)


def scorer(rows: NDArray[np.int64], items: NDArray[np.int32], scores: NDArray[np.floating], n_items: int) -> Scorer:
    """Looks scores up: queries in, float32 [q, n_items + 1] out, -inf for what nobody scored.

    Args:
        rows: int64 [n], the query of each scored pair.
        items: int32 [n], its item.
        scores: float [n].
        n_items: Size of the catalogue.
    """
    order = np.argsort(rows, kind="stable")
    rows, items, scores = rows[order], items[order], scores[order]

    def score(queries: Queries) -> torch.Tensor:
        table = np.full((len(queries), n_items + 1), -np.inf, np.float32)
        begin, end = (np.searchsorted(rows, queries.query, side) for side in ("left", "right"))
        for place, (first, last) in enumerate(zip(begin, end, strict=True)):
            table[place, items[first:last]] = scores[first:last]
        return torch.from_numpy(table)

    return score
