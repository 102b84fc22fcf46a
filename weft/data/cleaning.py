"""From what the source states to what every later stage can trust: rules kept, numbers, order.

Every input row ends up in exactly one place: accepted, or in ``rejected`` with the name of the first rule it broke.
Ids are held as categoricals (4 bytes, hashed once), so that a million rows take a few tenths of a second.
Not here: the rules (``rules.py``), reading files (``sources.py``), splitting (``evaluation/protocols.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from weft.data.rules import CleaningRules, ItemRules, as_rejected, check_share, event_rules, sort_out
from weft.errors import SourceError


@dataclass(frozen=True)
class Cleaned:
    """Tables of schemas ``Interactions`` (sorted by user, timestamp, row), ``Users``, ``Items`` and ``Rejected``."""

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    rejected: pl.DataFrame


def clean(
    raw_interactions: pl.LazyFrame,
    raw_items: pl.LazyFrame,
    rules: CleaningRules | None = None,
    decoded: pl.LazyFrame | None = None,
) -> Cleaned:
    """Cleans and numbers one data set.

    Items are numbered in the order of the item table, then those that only interactions name, by first appearance in
    (timestamp, row) order; users by first appearance in that order. An item that nobody touched stays, unless
    ``min_item_events`` says otherwise.

    Args:
        raw_interactions: Schema ``RawInteractions``; read once, as a stream.
        raw_items: Schema ``RawItems``; may be empty.
        rules: What is refused.
        decoded: Table with a column ``image``: the pictures that could be read. Items that refer to others are
            reported, unless there are no pictures at all.

    Raises:
        SourceError: If too large a share of the rows is broken, or none is left.
    """
    rules = rules or CleaningRules()
    ids = pl.Categories.random("weft")  # of this call: codes are small and nothing outlives it
    events, broken = sort_out(raw_interactions, event_rules(rules), "interactions", ids)
    events = events if events["row"].is_sorted() else events.sort("row")
    events, repeated = _without_duplicates(events)
    broken = pl.concat([broken, repeated])
    check_share("interactions", len(events), broken, rules)

    catalogue, broken_items = sort_out(raw_items, ItemRules, "items", ids)
    twice = ~catalogue["item_id"].is_first_distinct()
    broken_items = pl.concat([broken_items, as_rejected(catalogue.filter(twice), "items", "duplicate_item")])
    catalogue = catalogue.filter(~twice)
    check_share("items", len(catalogue), broken_items, rules)

    events, few = _enough_events(events, rules)
    if rules.min_item_events:
        rare = catalogue.join(events, on="item_id", how="anti", maintain_order="left")
        catalogue = catalogue.join(rare, on="row", how="anti", maintain_order="left")
        few = pl.concat([few, as_rejected(rare, "items", "few_events")])
    interactions, users, items = _number(events, catalogue)
    refused = pl.concat([broken, few, broken_items, _unreadable(catalogue, decoded)])
    return Cleaned(interactions, users, items, refused.sort("source", "row", maintain_order=True))


def _without_duplicates(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Leaves out rows that say exactly what an earlier row says."""
    user, item = (pl.col(key).to_physical().cast(pl.UInt64) for key in ("user_id", "item_id"))
    pair = events.select(user * 2**32 + item).to_series()
    repeated = events.clear()
    if pair.n_unique() < len(pair):  # in many data nobody meets an item twice, and whole rows need not be compared
        suspects = events.filter(pair.is_duplicated())
        repeated = suspects.filter(~pl.struct(pl.exclude("row")).is_first_distinct())
        events = events.join(repeated, on="row", how="anti", maintain_order="left")
    return events, as_rejected(repeated, "interactions", "duplicate")


def _enough_events(events: pl.DataFrame, rules: CleaningRules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Leaves out items and users with too few events, again and again until all that are left have enough."""
    few = events.clear()
    before = -1
    while len(events) != before:
        before = len(events)
        for key, least in (("item_id", rules.min_item_events), ("user_id", rules.min_user_events)):
            if least > 1:
                enough = events.select(pl.len().over(key) >= least).to_series()
                few = pl.concat([few, events.filter(~enough)])
                events = events.filter(enough)
    if events.is_empty():
        raise SourceError(
            "no user and item has as many events as the rules ask for",
            "lower rules.min_item_events and rules.min_user_events of the data set",
        )
    return events, as_rejected(few, "interactions", "few_events")


def _number(events: pl.DataFrame, catalogue: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Gives users and items their numbers and sorts the events, which come by row, by (user, timestamp, row)."""
    # One whole number that orders by (timestamp, row): times end in 2100, so they leave 31 bits for the row.
    events = events.with_columns(moment=pl.col("timestamp").fill_null(0) * 2**31 + pl.col("row"))
    users = events.group_by("user_id").agg(pl.col("moment").min()).sort("moment").select(_from_one("user"), "user_id")

    unlisted = events.join(catalogue, on="item_id", how="anti").sort("moment")
    unlisted = unlisted.group_by("item_id", maintain_order=True).agg(pl.col("domain").drop_nulls().first())
    items = pl.concat([catalogue.drop("row", "image"), unlisted], how="diagonal")
    items = items.select(_from_one("item"), pl.exclude("item"))

    # The rows come in source order, so one stable sort by one number does: half the time of a sort by three columns.
    order = pl.col("user").cast(pl.Int64) * 2**33 + pl.col("timestamp").fill_null(0)
    interactions = (
        events.join(users, on="user_id", how="left", maintain_order="left")
        .join(items.select("item_id", "item", of_item="domain"), on="item_id", how="left", maintain_order="left")
        .select(
            "row",
            "user",
            "item",
            "timestamp",
            pl.col("rating").cast(pl.Float32),
            pl.coalesce("domain", "of_item").alias("domain"),
            "session_id",
            "part",
        )
        .sort(order, maintain_order=True)
    )
    as_text = cs.categorical().cast(pl.String)
    return interactions, users.with_columns(as_text), items.with_columns(as_text)


def _from_one(name: str) -> pl.Expr:
    return pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias(name)


def _unreadable(catalogue: pl.DataFrame, decoded: pl.LazyFrame | None) -> pl.DataFrame:
    """Items whose picture was named and could not be read; none where the data set has no pictures at all."""
    broken = catalogue.clear()
    if decoded is not None and (names := decoded.select("image").collect()["image"]).len():
        broken = catalogue.filter(pl.col("image").is_in(names.implode()).not_())
    return as_rejected(broken, "images", "unreadable_image")
