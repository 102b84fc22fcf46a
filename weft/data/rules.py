"""Rules that rows of a source must keep, and the record of those that do not.

A row that breaks a rule does not stop the run: it goes to ``interactions.rejected`` with the rule's name, the reason
and its content. Too many of them do stop it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

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
    "unprintable_id": "the user or the item holds a line end, a NUL or another control character",
    "bad_rating": "the rating cannot be read",
    "rating_out_of_range": "the rating lies outside the range of the data set",
    "duplicate": "an earlier row says exactly the same",
    "duplicate_item": "an earlier row describes the same item",
    "few_events": "the user or the item has fewer events than the rules ask for",
    "missing_image": "there is no such picture",
    "empty_image": "the file of the picture is empty",
    "huge_image": "the picture has more bytes or pixels than a picture should",
    "truncated_image": "the picture ends too early",
    "unreadable_image": "the picture is damaged, has no pixels, or is no picture",
}
"""Name of each rule, and what it tells a person."""

RULE = pl.Enum(list(REASONS))

CONTROL = r"[\x00-\x1f\x7f]"
"""What no id may hold: such an id is most often two lines that were read as one."""

UNITS = {"ms": ("milliseconds", 10**3), "us": ("microseconds", 10**6), "ns": ("nanoseconds", 10**9)}
"""Units that times may be mapped in besides seconds, and how many of each a second has."""


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


def event_rules(rules: CleaningRules, *, timed: bool) -> dict[str, pl.Expr]:
    """What holds for a row of ``RawInteractions`` that keeps each rule; it is rejected for the first that it breaks.

    Args:
        rules: The range of ratings.
        timed: Whether any row has a time; then all must.
    """
    low = -np.inf if rules.rating_min is None else rules.rating_min
    high = np.inf if rules.rating_max is None else rules.rating_max
    time, rating = pl.col("timestamp"), pl.col("rating")
    return {
        "missing_user": _present("user_id"),
        "missing_item": _present("item_id"),
        "missing_timestamp": time.is_not_null() | (not timed),
        "bad_timestamp": time.is_between(0, LATEST),
        "bad_rating": rating.cast(pl.Float32).is_finite(),  # as it is kept
        "rating_out_of_range": rating.is_between(low, high),
    }


def item_rules() -> dict[str, pl.Expr]:
    """What holds for a row of ``RawItems`` that keeps each rule."""
    return {"missing_item": _present("item_id"), "unprintable_id": ~pl.col("item_id").str.contains(CONTROL)}


def first_broken(rules: Mapping[str, pl.Expr]) -> pl.Expr:
    """Name of the first rule that a row breaks; null where it breaks none. What is not stated breaks nothing."""
    broken = (pl.when(~kept).then(pl.lit(name, RULE)) for name, kept in rules.items())
    return pl.coalesce(broken).alias("rule")


def as_rejected(rows: pl.DataFrame, source: str) -> pl.DataFrame:
    """Rows of a source with their ``rule`` as schema ``Rejected``; their content is one line of JSON."""
    name = pl.col("rule").cast(pl.String)
    return rows.select(
        pl.lit(source).alias("source"),
        pl.col("row").cast(pl.Int64),
        name.alias("rule"),
        name.replace_strict(REASONS).alias("reason"),
        pl.struct(pl.exclude("row", "rule")).struct.json_encode().alias("content"),
    )


def check_share(
    source: str, accepted: int, broken: pl.Series, rules: CleaningRules, examples: Callable[[str], pl.DataFrame]
) -> None:
    """Stops when a source is more broken than the rules allow, or nothing of it is left.

    Args:
        source: ``interactions`` or ``items``.
        accepted: Rows that broke no rule.
        broken: For every other row the rule that it broke.
        rules: What share may be broken.
        examples: Some rows of the source that broke the given rule; called only where the run stops.

    Raises:
        SourceError: Naming the commonest rule and one of its rows.
    """
    total = accepted + len(broken)
    if total == 0 and source == "items":
        return
    if total == 0:
        raise SourceError(f"the source has no {source}", "give one with rows")
    share = len(broken) / total
    if share <= rules.max_rejected_share and accepted:
        return
    rule, count = broken.cast(pl.String).value_counts(sort=True).row(0)
    rows = examples(rule)
    example = as_rejected(rows.head(1).with_columns(rule=pl.lit(rule)), source)["content"][0]
    remedy = "check format and column mapping, or raise rules.max_rejected_share of the data set"
    if rule == "bad_timestamp" and (unit := _unit(rows["timestamp"])):
        remedy = f"the times look like {UNITS[unit][0]}: map time: {unit}"
    raise SourceError(
        f"{len(broken):,} of {total:,} {source} are broken ({share:.1%}, at most {rules.max_rejected_share:.1%} "
        f"may be); most often {rule}: {REASONS[rule]} ({count:,} rows, for example {_short(example)})",
        remedy,
    )


def _present(column: str) -> pl.Expr:
    return pl.col(column).is_not_null() & (pl.col(column) != "")


def _unit(times: pl.Series) -> str | None:
    """The unit in which nearly all of these times would lie between 1970 and 2100, if there is one."""
    fits = ((unit, times.is_between(LATEST, LATEST * size).mean()) for unit, (_, size) in UNITS.items())
    return next((unit for unit, share in fits if isinstance(share, float) and share > 0.9), None)


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"
