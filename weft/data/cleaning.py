"""From what the source states to what every later stage can trust: rules kept, numbers, order.

Every input row ends up in exactly one place: accepted, or in ``rejected`` with the name of the first rule it broke.
What a refused row said is read from the source a second time, for these rows alone.
Not here: the rules (``rules.py``), the narrow columns that rows are held in (``reading.py``), counting and ordering
(``numbering.py``), reading files (``sources.py``), splitting (``evaluation/protocols``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from weft.data import numbering
from weft.data.reading import TEXTS, codes, read, unprintable
from weft.data.rules import RULE, CleaningRules, as_rejected, check_share, first_broken, item_rules
from weft.errors import SourceError
from weft.progress import Progress
from weft.schemas import Rejected


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
    progress: Progress | None = None,
) -> Cleaned:
    """Cleans and numbers one data set.

    Items are numbered in the order of the item table, then those that only interactions name, by first appearance in
    (timestamp, row) order; users by first appearance in that order. An item that nobody touched stays, unless
    ``min_item_events`` says otherwise.

    Args:
        raw_interactions: Schema ``RawInteractions``; read as a stream, and a second time where rows are refused.
        raw_items: Schema ``RawItems``; may be empty.
        rules: What is refused.
        decoded: Columns ``image`` and ``problem`` of schema ``RawImages``. Items whose picture is not there or has a
            problem are reported and marked, unless there are no pictures at all.
        progress: Hears how many rows have been read.

    Raises:
        SourceError: If too large a share of the rows is broken, or none is left.
    """
    rules = rules or CleaningRules()
    kinds = {name: pl.Categorical(pl.Categories.random(name)) for name in TEXTS}  # of this call: codes stay small
    events, broken = read(raw_interactions, rules, kinds, progress)
    user, item = codes(events["user_id"]), codes(events["item_id"])
    odd = unprintable(events["user_id"]) | unprintable(events["item_id"])
    keep = ~odd
    # Without times a row's place is its time: the same again is another event.
    times = _times(events)
    suspects = np.zeros(0, np.uint32) if times is None else numbering.same_triple(user, item, times)
    again = _repeated(raw_interactions, events["row"], suspects)
    again = again[keep[again]]
    keep[again] = False
    broken = pl.concat(
        [
            broken,
            _refused(events["row"], np.flatnonzero(odd), "unprintable_id"),
            _refused(events["row"], again, "duplicate"),
        ]
    )
    check_share("interactions", int(keep.sum()), broken["rule"], rules, _examples(raw_interactions, broken))

    catalogue, broken_items = _catalogue(raw_items, rules, kinds)
    enough = numbering.with_enough(user, item, keep, rules.min_user_events, rules.min_item_events)
    if not enough.any():
        raise SourceError(
            "no user and item has as many events as the rules ask for",
            "lower rules.min_item_events and rules.min_user_events of the data set",
        )
    few = _refused(events["row"], np.flatnonzero(keep & ~enough), "few_events")
    if rules.min_item_events:
        rare = ~np.isin(catalogue["item_id"].to_physical(), np.unique(item[enough]))
        broken_items = pl.concat([broken_items, _refused(catalogue["row"], np.flatnonzero(rare), "few_events")])
        catalogue = catalogue.filter(~rare)
    del user, item, keep
    catalogue, no_picture = _without_picture(raw_items, catalogue, decoded)
    interactions, users, items = _number(events, enough, catalogue)
    refused = [
        _rejected(raw_interactions, "interactions", pl.concat([broken, few])),
        _rejected(raw_items, "items", broken_items),
        no_picture,
    ]
    return Cleaned(interactions, users, items, pl.concat(refused).sort("source", "row", maintain_order=True))


def _catalogue(
    raw: pl.LazyFrame, rules: CleaningRules, kinds: dict[str, pl.Categorical]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Items that keep every rule, the first of each id; and the others' rows and rules."""
    coded = (pl.col(name).cast(kinds[name]) for name in ("item_id", "domain"))
    table = raw.with_columns(*coded, pl.col("row").cast(pl.UInt32), first_broken(item_rules())).collect()
    broken = table.filter(pl.col("rule").is_not_null()).select("row", "rule")
    table = table.filter(pl.col("rule").is_null()).drop("rule")
    twice = ~table["item_id"].is_first_distinct()
    broken = pl.concat([broken, _refused(table["row"], twice.arg_true().to_numpy(), "duplicate_item")])
    table = table.filter(~twice)
    check_share("items", table.height, broken["rule"], rules, _examples(raw, broken))
    return table, broken


def _repeated(raw: pl.LazyFrame, rows: pl.Series, suspects: numbering.Codes) -> NDArray[np.int64]:
    """Positions among ``rows`` of those that say exactly what an earlier row says; only ``suspects`` are looked at."""
    if not len(suspects):
        return np.zeros(0, np.int64)
    stated = _rows(raw, rows.gather(suspects)).sort("row")
    again = stated.filter(~pl.struct(pl.exclude("row")).is_first_distinct())["row"]
    return np.searchsorted(rows.to_numpy(), again.to_numpy())


# ---- what is refused -------------------------------------------------------------------------------------------


def _refused(rows: pl.Series, positions: NDArray, rule: str) -> pl.DataFrame:
    return pl.DataFrame({"row": rows.gather(positions)}).with_columns(rule=pl.lit(rule, RULE))


def _rows(raw: pl.LazyFrame, rows: pl.Series) -> pl.DataFrame:
    """What the source says in these rows."""
    return raw.filter(pl.col("row").is_in(rows.cast(pl.Int64).implode())).collect(engine="streaming")


def _examples(raw: pl.LazyFrame, broken: pl.DataFrame) -> Callable[[str], pl.DataFrame]:
    return lambda rule: _rows(raw, broken.filter(rule=rule)["row"].head(1_000)).sort("row")


def _rejected(raw: pl.LazyFrame, source: str, refused: pl.DataFrame) -> pl.DataFrame:
    if refused.is_empty():
        return Rejected.create_empty()
    return as_rejected(_rows(raw, refused["row"]).join(refused.cast({"row": pl.Int64}), on="row"), source)


def _without_picture(
    raw_items: pl.LazyFrame, catalogue: pl.DataFrame, decoded: pl.LazyFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The catalogue with ``has_image``, and the items that name a picture which could not be read, with the reason.

    None is reported where the data set has no pictures at all.
    """
    told = None if decoded is None else decoded.select("image", "problem").collect()
    if told is None or told.is_empty():
        return catalogue.with_columns(has_image=pl.lit(value=False)), Rejected.create_empty()
    problem = pl.coalesce("problem", pl.when(pl.col("known").is_null()).then(pl.lit("missing_image"))).cast(RULE)
    catalogue = (
        catalogue.join(told.with_columns(known=pl.lit(value=True)), on="image", how="left", maintain_order="left")
        .with_columns(rule=pl.when(pl.col("image").is_not_null()).then(problem))
        .with_columns(has_image=pl.col("image").is_not_null() & pl.col("rule").is_null())
    )
    broken = catalogue.filter(pl.col("rule").is_not_null()).select("row", "rule")
    return catalogue.drop("problem", "known", "rule"), _rejected(raw_items, "images", broken)


# ---- numbers and order -----------------------------------------------------------------------------------------


def _number(
    events: dict[str, pl.Series], kept: numbering.Mask, catalogue: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Gives users and items their numbers and sorts the events by (user, timestamp, row). Uses ``events`` up."""
    positions = numbering.in_time(kept, _times(events))
    user = codes(events["user_id"])
    _, first = numbering.first_seen(user[positions])
    users = pl.DataFrame({"user_id": events["user_id"].gather(positions[first])}).select(_from_one("user"), "user_id")
    number = _numbers(users["user_id"])
    order = numbering.by_user(number[user[positions]], positions)
    columns = {"row": events.pop("row").gather(order).cast(pl.Int64), "user": pl.Series(number[user[order]])}
    del user, events["user_id"]

    item = codes(events["item_id"])
    listed = catalogue["item_id"].to_physical()
    seen, first = numbering.first_seen(item[positions])
    places = positions[first[~np.isin(seen, listed)]]
    unlisted = pl.DataFrame({"item_id": events["item_id"].gather(places)})
    if events["domain"].dtype != pl.Null:
        told = pl.DataFrame({name: events[name].gather(positions) for name in ("item_id", "domain")})
        told = told.drop_nulls().unique("item_id", keep="first", maintain_order=True)
        unlisted = unlisted.join(told, on="item_id", how="left", maintain_order="left")
    items = pl.concat([catalogue.drop("row", "image"), unlisted], how="diagonal")
    items = items.select(_from_one("item"), pl.exclude("item", "has_image"), pl.col("has_image").fill_null(value=False))
    columns["item"] = pl.Series(_numbers(items["item_id"])[item[order]])
    del item, events["item_id"], positions

    columns["timestamp"] = events.pop("timestamp").gather(order).cast(pl.Int64)
    columns["rating"] = events.pop("rating").gather(order).cast(pl.Float32)
    domain = events.pop("domain").gather(order)
    if items["domain"].null_count() < items.height:
        of_item = items["domain"].gather(columns["item"] - 1)
        domain = of_item if domain.dtype == pl.Null else domain.zip_with(domain.is_not_null(), of_item)
    texts = {"domain": domain, **{name: events.pop(name).gather(order) for name in ("session_id", "part")}}
    given = {name: column for name, column in texts.items() if column.dtype != pl.Null}
    interactions = pl.DataFrame({**columns, **given}).select(
        *columns,
        # A column without values is one null for all rows, which takes no memory.
        *(pl.col(name).cast(pl.String) if name in given else pl.lit(None, pl.String).alias(name) for name in texts),
    )
    as_text = cs.categorical().cast(pl.String)
    return interactions, users.with_columns(as_text), items.with_columns(as_text)


def _times(events: dict[str, pl.Series]) -> numbering.Codes | None:
    """Times where there are any: then every accepted row has one."""
    times = events["timestamp"]
    return None if times.dtype == pl.Null else times.to_numpy()


def _numbers(ids: pl.Series) -> NDArray[np.int32]:
    """Our number, from 1, by the code of the id; the ids come in the order of their numbers."""
    present = codes(ids)
    numbers = np.zeros(int(present.max(initial=0)) + 1, np.int32)
    numbers[present] = np.arange(1, len(present) + 1)
    return numbers


def _from_one(name: str) -> pl.Expr:
    return pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias(name)
