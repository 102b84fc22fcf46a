"""The card of a data set: what a person, or a reviewer of a paper, wants to know before trusting a number made on it.

One table of facts, each with a figure for queries and a text for readers: about the data themselves, and about the
splits of every protocol (sizes, ties in time, warm and cold targets).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from weft.schemas import SPLITS, Card

DATA = "data set"
"""What the facts that belong to no protocol are about."""

Fact = tuple[str, float | None, str]


def card_of(
    interactions: pl.LazyFrame,
    items: pl.LazyFrame,
    rejected: pl.LazyFrame,
    splits: Mapping[str, pl.LazyFrame],
) -> pl.DataFrame:
    """All facts in the order of reading.

    Args:
        interactions: Schema ``Interactions``.
        items: Schema ``Items``.
        rejected: Schema ``Rejected``.
        splits: Protocol to its splits (schema ``Splits``).

    Returns:
        Schema ``Card``.
    """
    rows: list[tuple[str, str | None, *Fact]] = [
        (DATA, None, *fact) for fact in _of_data(interactions, items, rejected)
    ]
    for protocol in sorted(splits):
        rows += [(protocol, split, *fact) for split, fact in _of_splits(splits[protocol])]
    numbered = [(place, *row) for place, row in enumerate(rows)]
    return Card.cast(pl.DataFrame(numbered, schema=Card.column_names(), orient="row", infer_schema_length=None))


def _of_data(interactions: pl.LazyFrame, items: pl.LazyFrame, rejected: pl.LazyFrame) -> Iterator[Fact]:
    pair = pl.col("user").cast(pl.Int64) * 2**32 + pl.col("item")
    events = _row(
        interactions.select(
            n=pl.len(),
            users=pl.col("user").n_unique(),
            touched=pl.col("item").n_unique(),
            pairs=pair.n_unique(),
            timed=pl.col("timestamp").count(),
            rated=pl.col("rating").count(),
            first=pl.col("timestamp").min(),
            last=pl.col("timestamp").max(),
            tied=_tied(pl.col("user")).sum(),
        )
    )
    catalogue = _row(
        items.select(
            n=pl.len(),
            titles=pl.col("title").count(),
            texts=pl.col("description").count(),
            pictures=pl.col("has_image").sum(),
            domains=pl.col("domain").drop_nulls().n_unique(),
        )
    )
    n, users, known = events["n"], events["users"], catalogue["n"]
    yield _count("interactions", n)
    yield _count("users", users)
    yield _count("items in the catalogue", known)
    yield _count("items with interactions", events["touched"])
    density = n / max(users * events["touched"], 1)
    yield "density", density, f"{density:.3%}"
    yield "interactions per user", n / max(users, 1), f"{n / max(users, 1):.1f}"
    if events["first"] is not None:
        yield "from", float(events["first"]), _day(events["first"])
        yield "to", float(events["last"]), _day(events["last"])
    yield _share("interactions with a time", events["timed"], n)
    yield _share("interactions that share their second with another of the user", events["tied"], n)
    yield _share("repeats of a user's earlier item", n - events["pairs"], n)
    yield _share("interactions with a rating", events["rated"], n)
    yield _share("items with a title", catalogue["titles"], known)
    yield _share("items with a description", catalogue["texts"], known)
    yield _share("items with a picture", catalogue["pictures"], known)
    if catalogue["domains"] > 1:
        yield _count("domains", catalogue["domains"])
    by_rule = rejected.group_by("source", "rule").len("rows").sort("source", "rule").collect()
    yield _count("rejected rows", int(by_rule["rows"].sum()))
    for source, rule, rows in by_rule.iter_rows():
        yield _count(f"rejected {source}: {rule}", rows)


def _of_splits(splits: pl.LazyFrame) -> Iterator[tuple[str, Fact]]:
    """Facts per split: a target is tied where the source row, not time, put it where it is."""
    whose = pl.coalesce(pl.col("session"), pl.col("user").cast(pl.Int64))
    train = splits.filter(pl.col("split") == "train")
    warm = train.select(pl.col("item").unique().implode(), pl.col("user").unique().implode()).collect()
    target = pl.col("target")
    counted = (
        splits.filter(pl.col("split") != "unused")
        .with_columns(whose=whose, tied=_tied(whose))
        .group_by("split")
        .agg(
            rows=pl.len(),
            sequences=pl.col("whose").n_unique(),
            sessions=pl.col("session").n_unique() - (pl.col("session").null_count() > 0),
            targets=target.sum(),
            tied=(target & pl.col("tied")).sum(),
            cold_items=(target & ~pl.col("item").is_in(warm["item"])).sum(),
            cold_users=(target & ~pl.col("user").is_in(warm["user"])).sum(),
            liked=pl.col("label").sum(),
            labelled=pl.col("label").count(),
        )
        .collect()
    )
    found = {row["split"]: row for row in counted.iter_rows(named=True)}
    for split in SPLITS:
        row = found.get(split)
        if row is None:
            continue
        yield split, _count("rows", row["rows"])
        yield split, _count("sessions" if row["sessions"] else "users", row["sequences"])
        if row["labelled"]:
            yield split, _share("liked", row["liked"], row["labelled"])
        if row["targets"]:
            yield split, _count("targets", row["targets"])
            yield split, _share("targets decided by a tie in time", row["tied"], row["targets"])
            yield split, _share("targets unseen in training", row["cold_items"], row["targets"])
            if not row["sessions"]:
                yield split, _share("targets of users unseen in training", row["cold_users"], row["targets"])
    unused = splits.filter(pl.col("split") == "unused").select(pl.len()).collect().item()
    if unused:
        yield "unused", _count("rows", unused)


def _tied(whose: pl.Expr) -> pl.Expr:
    """Whether the row before or after it, of the same owner, has the same time; everything is tied without times."""
    same_before = (whose == whose.shift(1)) & pl.col("timestamp").eq_missing(pl.col("timestamp").shift(1))
    return same_before.fill_null(value=False) | same_before.shift(-1).fill_null(value=False)


def _row(frame: pl.LazyFrame) -> dict[str, Any]:
    return frame.collect().row(0, named=True)


def _count(name: str, number: int) -> Fact:
    return name, float(number), f"{number:,}"


def _share(name: str, part: int, whole: int) -> Fact:
    share = part / max(whole, 1)
    return name, share, f"{share:.1%}"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
