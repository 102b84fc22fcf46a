"""Rules that rows of a source must keep, and the record of those that do not.

A row that breaks a rule does not stop the run: it goes to ``interactions.rejected`` with the rule's name, the reason
and its content. Too many of them do stop it.
"""

from __future__ import annotations

from typing import Any, Self

import dataframely as dy
import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from weft.errors import SourceError

LATEST = 4_102_444_800
"""2100-01-01. Times beyond it are milliseconds taken for seconds."""

REASONS = {
    "missing_user": "the user is missing",
    "missing_item": "the item is missing",
    "missing_timestamp": "the time is missing or cannot be read, though other rows have one",
    "bad_timestamp": "the time lies before 1970 or after 2100",
    "bad_rating": "the rating cannot be read",
    "rating_out_of_range": "the rating lies outside the range of the data set",
    "duplicate": "an earlier row says exactly the same",
    "duplicate_item": "an earlier row describes the same item",
    "few_events": "the user or the item has fewer events than the rules ask for",
    "unreadable_image": "the picture is missing, unreadable or too large",
}
"""Name of each rule, and what it tells a person."""


class CleaningRules(BaseModel):
    """Which rows are refused, and how many may be before the run stops."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rating_min: float | None = Field(None, description="Lowest rating that there is.")
    rating_max: float | None = Field(None, description="Highest rating that there is.")
    min_item_events: int = Field(0, ge=0, description="Items with fewer events leave the data set and the catalogue.")
    min_user_events: int = Field(0, ge=0, description="Users with fewer events leave the data set.")
    max_rejected_share: float = Field(
        0.05, ge=0, le=1, description="Share of broken rows over which the run stops; few_events does not count."
    )

    @model_validator(mode="after")
    def _range_is_a_range(self) -> Self:
        if self.rating_min is not None and self.rating_max is not None and self.rating_min >= self.rating_max:
            raise ValueError("rating_min must be below rating_max")
        return self


def event_rules(rules: CleaningRules) -> type[dy.Schema]:
    """The rules of single rows; the first that a row breaks is the one that it is rejected for."""
    low = -np.inf if rules.rating_min is None else rules.rating_min
    high = np.inf if rules.rating_max is None else rules.rating_max
    time, rating = pl.col("timestamp"), pl.col("rating")

    class EventRules(dy.Schema):
        row = dy.Int64()
        user_id = dy.String(nullable=True)
        item_id = dy.String(nullable=True)
        timestamp = dy.Int64(nullable=True)
        rating = dy.Float64(nullable=True)
        domain = dy.String(nullable=True)
        session_id = dy.String(nullable=True)
        part = dy.String(nullable=True)

        @dy.rule()
        def missing_user(cls) -> pl.Expr:  # noqa: N805
            return _present("user_id")

        @dy.rule()
        def missing_item(cls) -> pl.Expr:  # noqa: N805
            return _present("item_id")

        @dy.rule()
        def missing_timestamp(cls) -> pl.Expr:  # noqa: N805
            return time.is_not_null() | time.is_null().all()

        @dy.rule()
        def bad_timestamp(cls) -> pl.Expr:  # noqa: N805
            return time.is_between(0, LATEST)

        @dy.rule()
        def bad_rating(cls) -> pl.Expr:  # noqa: N805
            return rating.is_finite()

        @dy.rule()
        def rating_out_of_range(cls) -> pl.Expr:  # noqa: N805
            return rating.is_between(low, high)

    return EventRules


class ItemRules(dy.Schema):
    """The rules of single items."""

    row = dy.Int64()
    item_id = dy.String(nullable=True)
    title = dy.String(nullable=True)
    year = dy.Int32(nullable=True)
    genres = dy.List(dy.String(), nullable=True)
    description = dy.String(nullable=True)
    domain = dy.String(nullable=True)
    image = dy.String(nullable=True)

    @dy.rule()
    def missing_item(cls) -> pl.Expr:  # noqa: N805
        """Every item has an id."""
        return _present("item_id")


def _present(column: str) -> pl.Expr:
    return pl.col(column).is_not_null() & (pl.col(column) != "")


def sort_out(
    raw: pl.LazyFrame, rules: type[dy.Schema], source: str, ids: pl.Categories
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that keep every rule, with ids as categoricals of ``ids``, and the others as ``Rejected``."""
    columns = [name for name in ("user_id", "item_id") if name in rules.column_names()]
    lazy: Any = rules.filter(raw)
    coded = lazy.result.with_columns(pl.col(columns).cast(pl.Categorical(ids)))
    good, failure = lazy._replace(result=coded).collect_all(engine="streaming")
    broken = failure.details()
    names = [name for name in broken.columns if name in REASONS]
    first = pl.coalesce(pl.when(pl.col(name) == "invalid").then(pl.lit(name)) for name in names)
    return good, as_rejected(broken.with_columns(__rule=first).drop(names), source, pl.col("__rule"))


def as_rejected(rows: pl.DataFrame, source: str, rule: str | pl.Expr) -> pl.DataFrame:
    """Rows as schema ``Rejected``; their content is one line of JSON."""
    name = pl.lit(rule) if isinstance(rule, str) else rule
    content = pl.struct(pl.exclude("row", "__rule"))
    return rows.select(
        pl.lit(source).alias("source"),
        "row",
        name.alias("rule"),
        name.replace_strict(REASONS).alias("reason"),
        content.struct.json_encode().alias("content"),
    )


def check_share(source: str, accepted: int, broken: pl.DataFrame, rules: CleaningRules) -> None:
    """Stops when a source is more broken than the rules allow, or nothing of it is left.

    Raises:
        SourceError: Naming the commonest rule and one of its rows.
    """
    total = accepted + len(broken)
    if total == 0 and source == "items":
        return
    if total == 0:
        raise SourceError(f"the source has no {source}", "give one with rows")
    share = len(broken) / total
    if share > rules.max_rejected_share or accepted == 0:
        rule, count = broken["rule"].value_counts(sort=True).row(0)
        example = broken.filter(pl.col("rule") == rule)["content"][0]
        raise SourceError(
            f"{len(broken):,} of {total:,} {source} are broken ({share:.1%}, at most {rules.max_rejected_share:.1%} "
            f"may be); most often {rule}: {REASONS[rule]} ({count:,} rows, for example {example})",
            "check format and column mapping, or raise rules.max_rejected_share of the data set",
        )
