"""One user as a case: what they liked and disliked, and what a system made of the items they judged next.

CIT-Rec shows such a case in its Fig. 4. Which user is shown is a rule, so that nobody picks a flattering one.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

MOST_HISTORY = 10
"""Items of the history that are shown of each kind: the last ones."""

MOST_JUDGED = 4
"""Items that are shown as recommended, and as not."""


@dataclass(frozen=True)
class Judged:
    """One judged item: its score, and what the user really said."""

    item: int
    score: float
    liked: bool


@dataclass(frozen=True)
class Case:
    """One user under one protocol.

    Attributes:
        user: Their number.
        liked: Items of their history that they liked, oldest first.
        disliked: Those that they did not.
        recommended: Judged items with the highest scores, best first.
        refused: Those with the lowest, worst first; no item is in both.
        judged: How many of their test rows were judged.
    """

    user: int
    liked: list[int]
    disliked: list[int]
    recommended: list[Judged]
    refused: list[Judged]
    judged: int


def case_of(scored: pl.DataFrame, splits: pl.DataFrame) -> Case | None:
    """The user with the most judged test rows among those who liked some and disliked others; None without one.

    On ties the smallest number counts. The history is what they rated before the first row that is shown as judged.
    Where all their rows are test rows (blocks of users), the first half of them is history.

    Args:
        scored: Schema ``ScoredPairs``.
        splits: Schema ``Splits`` of the same protocol.
    """
    tests = scored.filter((pl.col("split") == "test") & (pl.col("user") > 0)).drop_nulls("score")
    sides = tests.group_by("user").agg(n=pl.len(), likes=pl.col("label").sum())
    both = sides.filter((pl.col("likes") > 0) & (pl.col("likes") < pl.col("n")))
    if both.is_empty():
        return None
    user = both.sort(["n", "user"], descending=[True, False])["user"][0]
    rated = splits.filter((pl.col("user") == user) & pl.col("label").is_not_null()).sort("timestamp", "row")
    first = int((rated["split"] == "test").arg_max() or 0)
    history = rated.head(first or len(rated) // 2)
    asked = tests.filter((pl.col("user") == user) & ~pl.col("row").is_in(history["row"].implode()))
    asked = asked.sort(["score", "row"], descending=[True, False])
    shown = min(MOST_JUDGED, len(asked) // 2)
    return Case(
        user=user,
        liked=_last(history.filter(pl.col("label"))),
        disliked=_last(history.filter(~pl.col("label"))),
        recommended=_judged(asked.head(len(asked) - shown).head(MOST_JUDGED)),
        refused=_judged(asked.tail(shown).reverse()),
        judged=tests.filter(pl.col("user") == user).height,
    )


def _last(rows: pl.DataFrame) -> list[int]:
    return rows["item"].tail(MOST_HISTORY).to_list()


def _judged(rows: pl.DataFrame) -> list[Judged]:
    return [Judged(*row) for row in rows.select("item", "score", "label").iter_rows()]
