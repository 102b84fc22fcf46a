"""The storefront: a simulated shop whose truth is known.

Each signal that a recommender may claim to use is planted on its own and can be switched off, so that "the image
branch helps" is a test with a known answer. A visit (session) of a user draws items without replacement from

    softmax over unseen items on the shelf of  (tastes + community + intent of the visit) · item + popularity

by the Gumbel-top-k trick (Kool et al. 2019): one draw per visit gives the whole ordered sequence. Everything a
choice depends on stands in the truth table; the reader of that table is in ``storefront_truth``.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from weft.data.drawing import draw_covers
from weft.data.storefront_items import Shelf, stock
from weft.data.storefront_truth import BLOCKS, COMMUNITY_WIDTH, WIDTH, Oracle
from weft.data.world.works import ATTRIBUTES, DOMAINS, OCCASIONS

__all__ = ["Oracle", "Storefront", "StorefrontSettings", "simulate"]

DAY = 86_400
OPENING = 1_672_531_200
"""2023-01-01 00:00 UTC; the shop keeps its log for 18 months."""
MONTHS_18 = 548 * DAY
LAST_WINDOW = 0.2
"""Share of the time at its end in which new items are released."""

# Strengths in units of the logit. Found on seed 0 by what the attainable ceiling loses without each signal.
TASTE = 1.4
COMMUNITY = 0.9
OCCASION = 4.5
WISH = 2.5
DOMAIN = 1.2
POPULARITY = 0.8

TASTE_TYPES = 6
COMMUNITIES = 10
RATING_SHARES = (0.08, 0.12, 0.22, 0.33, 0.25)


class StorefrontSettings(BaseModel):
    """Size, seed, and one switch per planted signal. Switching one off leaves the draws of the others as they were."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["tiny", "default", "large"] = Field("default", description="Size: 60, 600 or 5,000 items.")
    seed: int = Field(0, ge=0, description="Seed of the shop: users, tastes, popularity, choices.")
    world: int = Field(0, ge=0, description="Seed of the world of works that the shop stocks.")
    image_taste: bool = Field(True, description="Users like styles; a style shows only in the drawn picture.")
    text_taste: bool = Field(True, description="Users like themes; a theme shows only in title and description.")
    knowledge_taste: bool = Field(True, description="Users like moods; a mood stands in no catalogue.")
    long_term_taste: bool = Field(True, description="Users like genres, all through their history.")
    short_term_intent: bool = Field(True, description="A visit is for one occasion and one theme (needs sessions).")
    similar_users: bool = Field(True, description="Latent communities of users who like the same items.")
    cross_domain: bool = Field(True, description="Tastes carry over between domains; off: each domain its own.")
    drift: bool = Field(True, description="Tastes other than for genres change once, each for half of the users.")
    new_items: bool = Field(True, description="A quarter of the items is released in the last window.")
    two_domains: bool = Field(True, description="Books and films with shared users; off: books only.")
    sessions: bool = Field(True, description="Events come in visits with a session id; off: one by one.")
    ratings: bool = Field(True, description="Each event carries a rating of 1 to 5; off: none.")
    dirty_rows: bool = Field(True, description="About 1 % of broken and duplicate rows are added.")


@dataclass(frozen=True)
class Size:
    """What a preset stands for: visits and events per visit are means."""

    items: int
    users: int
    visits: float
    events: float


SIZES = {"tiny": Size(60, 80, 5.6, 4.6), "default": Size(600, 1_500, 9, 5), "large": Size(5_000, 20_000, 10.2, 5)}


@dataclass(frozen=True)
class Storefront:
    """The shop's tables: schemas ``RawInteractions``, ``RawItems``, ``RawImages`` and ``Truth``."""

    raw_interactions: pl.DataFrame
    raw_items: pl.DataFrame
    raw_images: pl.DataFrame
    truth: pl.DataFrame


@dataclass(frozen=True)
class Visits:
    """One row per visit, sorted by (user, start)."""

    user: NDArray[np.int64]
    number: NDArray[np.int64]  # from 0 within the user
    start: NDArray[np.int64]
    length: NDArray[np.int64]


def simulate(settings: StorefrontSettings) -> Storefront:
    """Simulates the shop. Equal settings give equal tables, bit for bit on one platform."""
    size = SIZES[settings.preset]
    shelf = _shelf(settings, size)
    visits = _visits(settings, size)
    lasting = _lasting_tastes(settings, size, visits)
    wanted = lasting + _intents(settings, visits)
    visit, item = _choose(wanted, visits, shelf, _rng(settings, "choices"))
    clean = _events(settings, visits, shelf, visit, item, np.einsum("ij,ij->i", lasting[visit], shelf.vectors[item]))
    return Storefront(
        raw_interactions=_number(_with_dirt(clean, _rng(settings, "dirt")) if settings.dirty_rows else clean),
        raw_items=shelf.table,
        raw_images=draw_covers(shelf.table["image"].to_list(), shelf.values["style"], _rng(settings, "covers")),
        truth=_truth(visits, wanted, shelf),
    )


def _rng(settings: StorefrontSettings, purpose: str) -> np.random.Generator:
    """A stream of its own for each purpose, so that one switch does not shift the draws of another."""
    return np.random.default_rng([settings.seed, zlib.crc32(purpose.encode())])


def _shelf(settings: StorefrontSettings, size: Size) -> Shelf:
    rng = _rng(settings, "release")
    share = LAST_WINDOW * rng.random(size.items)
    new = rng.random(size.items) < (0.25 if settings.new_items else 0)
    release = np.where(new, OPENING + ((1 - LAST_WINDOW + share) * MONTHS_18).astype(np.int64), OPENING)
    domains = len(DOMAINS) if settings.two_domains else 1
    return stock(size.items, settings.world, domains, release, _rng(settings, "items"))


def _visits(settings: StorefrontSettings, size: Size) -> Visits:
    """When each user comes and how much they take: at least three visits, eight hours or more apart."""
    rng = _rng(settings, "visits")
    visits, events = (size.visits, size.events) if settings.sessions else (size.visits * size.events, 1.0)
    activity = rng.gamma(4.0, 0.25, size.users)  # mean 1: some come often, some seldom
    count = 3 + rng.poisson((visits - 3) * activity)
    user = np.repeat(np.arange(size.users), count)
    number = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)

    joined = rng.random(size.users) * 0.6 * MONTHS_18
    moment = rng.random(len(user))
    moment = moment[np.lexsort((moment, user))]
    free = MONTHS_18 - joined - count * DAY / 3
    start = OPENING + joined[user] + moment * free[user] + number * DAY / 3

    # Nobody empties the shelf: a user takes at most half of the items that are there from the start.
    length = 1 + rng.poisson(events - 1, len(user))
    before = np.cumsum(length) - length
    before -= before[np.searchsorted(user, user)]
    length = np.clip(size.items // 2 - before, 0, length)
    kept = length > 0
    return Visits(user[kept], number[kept], start[kept].astype(np.int64), length[kept])


def _lasting_tastes(settings: StorefrontSettings, size: Size, visits: Visits) -> NDArray[np.float32]:
    """float32 [visits, WIDTH]: tastes and community of each visit's user at that time.

    A taste is one of a few shared types with some private flips: wholly private tastes are too weak to be learnt.
    """
    switches = dict(
        zip(ATTRIBUTES, (settings.image_taste, settings.text_taste, settings.knowledge_taste, settings.long_term_taste),
            strict=True)
    )  # fmt: skip
    rng = _rng(settings, "drift")
    change = OPENING + (0.2 + 0.7 * rng.random(size.users)) * MONTHS_18
    drifts = np.array([name != "genre" for name in ATTRIBUTES])  # what is liked for long is liked all along
    changes = (rng.random((len(ATTRIBUTES), size.users)) < (0.5 if settings.drift else 0)) & drifts[:, None]
    later = visits.start >= change[visits.user]

    vectors = np.zeros((len(visits.user), WIDTH), np.float32)
    for (name, values), changing in zip(ATTRIBUTES.items(), changes, strict=True):
        rng = _rng(settings, name)
        liked = rng.permuted(np.tile(np.arange(values) < values // 3, (TASTE_TYPES, 1)), axis=1)
        pattern = np.where(liked, 1.0, -0.5)
        # [period, domain, user, value]; what does not change or carries over is copied from the first period, domain.
        draws = pattern[rng.integers(0, TASTE_TYPES, (2, 2, size.users))]
        draws *= np.where(rng.random(draws.shape) < 0.1, -1, 1)
        if settings.cross_domain:
            draws[:, 1] = draws[:, 0]
        draws[1] = np.where(changing[None, :, None], draws[1], draws[0])
        for k, domain in enumerate(DOMAINS):
            tastes = draws[later.astype(int), k, visits.user]
            vectors[:, BLOCKS[f"{domain}.{name}"]] = switches[name] * TASTE * tastes

    rng = _rng(settings, "communities")
    centre = rng.standard_normal((COMMUNITIES, COMMUNITY_WIDTH))[rng.integers(0, COMMUNITIES, size.users)]
    member = centre + 0.3 * rng.standard_normal(centre.shape)
    vectors[:, BLOCKS["community"]] = settings.similar_users * COMMUNITY * member[visits.user]
    return vectors


def _intents(settings: StorefrontSettings, visits: Visits) -> NDArray[np.float32]:
    """float32 [visits, WIDTH]: what holds for one visit only (occasion, wish for a theme, domain), and popularity."""
    n = len(visits.user)
    rng = _rng(settings, "intents")
    occasion, theme = rng.integers(0, OCCASIONS, n), rng.integers(0, ATTRIBUTES["theme"], n)
    leaning = rng.beta(1.2, 1.2, visits.user.max() + 1)
    domain = (rng.random(n) < leaning[visits.user]).astype(np.int64)
    planted = settings.short_term_intent and settings.sessions

    row = np.arange(n)
    vectors = np.zeros((n, WIDTH), np.float32)
    vectors[row, BLOCKS["occasion"].start + occasion] = planted * OCCASION
    vectors[row, BLOCKS["wish"].start + theme] = planted * settings.text_taste * WISH
    vectors[row, BLOCKS["domain"].start + domain] = DOMAIN
    vectors[:, BLOCKS["popularity"]] = POPULARITY
    return vectors


def _choose(
    wanted: NDArray[np.float32], visits: Visits, shelf: Shelf, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws every visit's items in order; returns (visit, item), sorted by visit, both int64 [events].

    Gumbel noise is -log of an exponential variable. Users go in blocks, so that memory stays bounded; within a block,
    all first visits are drawn together, then all second visits, because a user takes no item twice.
    """
    chosen = np.zeros((len(visits.user), visits.length.max()), np.int64)
    block = max(1, 2_000_000 // len(shelf.ids))
    for first in range(0, visits.user.max() + 1, block):
        span = slice(*np.searchsorted(visits.user, [first, first + block]))
        seen = np.zeros((block, len(shelf.ids)), bool)
        for k in range(visits.number[span].max(initial=-1) + 1):
            row = span.start + np.flatnonzero(visits.number[span] == k)
            noise = rng.standard_exponential((len(row), len(shelf.ids)), dtype=np.float32)
            key = wanted[row] @ shelf.vectors.T - np.log(noise + 1e-20)
            key[seen[visits.user[row] - first] | (shelf.release[None, :] > visits.start[row, None])] = -np.inf
            top = visits.length[row].max()
            best = np.argpartition(-key, top - 1, axis=1)[:, :top]
            best = np.take_along_axis(best, np.argsort(-np.take_along_axis(key, best, 1), axis=1), 1)
            chosen[row, :top] = best
            taken = np.arange(top)[None, :] < visits.length[row, None]
            seen[np.repeat(visits.user[row] - first, visits.length[row]), best[taken]] = True
    taken = np.arange(chosen.shape[1])[None, :] < visits.length[:, None]
    return np.nonzero(taken)[0], chosen[taken]


def _events(
    settings: StorefrontSettings,
    visits: Visits,
    shelf: Shelf,
    visit: NDArray[np.int64],
    item: NDArray[np.int64],
    liking: NDArray[np.float32],
) -> pl.DataFrame:
    """The log without dirt, in order of time. The rating tells the lasting liking, with noise and a user's bias."""
    rng = _rng(settings, "events")
    user = visits.user[visit]
    wait = rng.integers(30, 900, len(visit))
    passed = np.cumsum(wait)
    timestamp = visits.start[visit] + passed - passed[np.searchsorted(visit, visit)]

    spread = max(float(liking.std()), 1e-9)
    felt = liking / spread + 0.3 * rng.standard_normal(user.max() + 1)[user] + 0.5 * rng.standard_normal(len(user))
    rating = 1.0 + np.searchsorted(np.quantile(felt, np.cumsum(RATING_SHARES)[:-1]), felt)
    users = np.array([f"u{k:04d}" for k in range(1, user.max() + 2)])
    frame = pl.DataFrame(
        {
            "user_id": users[user],
            "item_id": np.array(shelf.ids)[item],
            "timestamp": timestamp,
            "rating": rating,
            "domain": np.array(DOMAINS)[shelf.values["domain"][item]],
            "visit": visits.number[visit],
        }
    ).with_columns(session_id=pl.format("{}-{}", "user_id", pl.col("visit") + 1))
    if not settings.ratings:
        frame = frame.with_columns(rating=pl.lit(None, pl.Float64))
    if not settings.sessions:
        frame = frame.with_columns(session_id=pl.lit(None, pl.String))
    return frame.drop("visit").sort("timestamp", "user_id")


def _with_dirt(clean: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Adds broken copies of about 1 % of the rows, each somewhere after its original; the clean rows all stay."""
    breaks = {
        "duplicate": [],
        "missing user": [pl.lit(None, pl.String).alias("user_id")],
        "rating out of range": [pl.lit(11.0).alias("rating")],
        "bad timestamp": [pl.lit(-1, pl.Int64).alias("timestamp")],
    }
    if clean["rating"].null_count():
        del breaks["rating out of range"]
    place = pl.Series("place", np.arange(len(clean), dtype=np.float64))
    parts = [clean.with_columns(place)]
    for change in breaks.values():
        picked = rng.integers(0, len(clean), max(1, len(clean) // 400))
        later = picked + 0.5 + rng.random(len(picked)) * (len(clean) - picked)
        parts.append(clean[picked].with_columns(*change, place=later))
    return pl.concat(parts).sort("place", maintain_order=True).drop("place")


def _number(log: pl.DataFrame) -> pl.DataFrame:
    return log.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), *log.columns, part=pl.lit(None, pl.String))


def _truth(visits: Visits, wanted: NDArray[np.float32], shelf: Shelf) -> pl.DataFrame:
    """Schema ``Truth``: one row per visit, one per item from its release on."""
    users = np.array([f"u{k:04d}" for k in range(1, visits.user.max() + 2)])
    parts = [
        pl.DataFrame({"id": ids, "since": since, "vector": vectors}).select(
            pl.lit(kind).cast(pl.Enum(["user", "item"])).alias("kind"),
            "id",
            "since",
            pl.col("vector").cast(pl.List(pl.Float32)),
        )
        for kind, ids, since, vectors in (
            ("user", users[visits.user], visits.start, wanted),
            ("item", np.array(shelf.ids), shelf.release, shelf.vectors),
        )
    ]
    return pl.concat(parts)
