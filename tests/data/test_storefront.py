"""Every planted signal leaves its trace in the log, and none when it is switched off."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image

from weft.data.sequences import Queries
from weft.data.storefront import OPENING, Oracle, Storefront, StorefrontSettings, Visits, _choose, simulate
from weft.data.storefront_items import Shelf
from weft.data.storefront_truth import BLOCKS, COMMUNITY_WIDTH, WIDTH, planted_attributes, vectors
from weft.data.world.works import ATTRIBUTES, MOODS, THEMES
from weft.schemas import RawImages, RawInteractions, RawItems, Truth

MONTHS_18 = 548 * 86_400


def shop(preset: str = "default", **switches) -> Storefront:
    return simulate(StorefrontSettings(preset=preset, dirty_rows=switches.pop("dirty_rows", False), **switches))


@pytest.fixture(scope="module")
def default() -> Storefront:
    return shop()


def log_and_items(front: Storefront) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The log with numbers for users and items (from 0), and the planted attributes in catalogue order."""
    items = planted_attributes(front.truth).with_row_index("item")
    log = front.raw_interactions.join(items.select("item", "item_id"), on="item_id", maintain_order="left")
    return log.with_columns(user=pl.col("user_id").str.slice(1).cast(pl.Int64) - 1), items


def profiles(log: pl.DataFrame, features: np.ndarray) -> np.ndarray:
    """Mean features of what each user took, minus the mean over users [users, features]."""
    counts = np.zeros((1_500, len(features)))
    np.add.at(counts, (log["user"].to_numpy(), log["item"].to_numpy()), 1)
    means = counts @ features / np.maximum(counts.sum(1, keepdims=True), 1)
    return means - means.mean(0)


def surprise(statistic, permutations: int = 30) -> float:
    """Standard deviations between ``statistic(None)`` and its value under random relabelling."""
    rng = np.random.default_rng(0)
    null = [statistic(rng) for _ in range(permutations)]
    return (statistic(None) - np.mean(null)) / np.std(null)


def trace(front: Storefront, features: np.ndarray) -> float:
    """How much more users differ in ``features`` of what they take than they would if items were relabelled."""
    log, items = log_and_items(front)
    films = (items["domain"] == "films").to_numpy()

    def spread(rng: np.random.Generator | None) -> float:
        order = np.arange(len(items))
        if rng is not None:
            for side in (np.flatnonzero(films), np.flatnonzero(~films)):
                order[side] = rng.permutation(side)
        return float((profiles(log, features[order]) ** 2).sum())

    return surprise(spread)


def one_hot(front: Storefront, attribute: str) -> np.ndarray:
    return np.eye(ATTRIBUTES[attribute])[planted_attributes(front.truth)[attribute].to_numpy()]


def test_tables_follow_their_schemas_and_equal_settings_give_equal_tables() -> None:
    first, second = shop("tiny", dirty_rows=True), shop("tiny", dirty_rows=True)
    RawInteractions.validate(first.raw_interactions)
    RawItems.validate(first.raw_items)
    RawImages.validate(first.raw_images)
    Truth.validate(first.truth)
    for name in ("raw_interactions", "raw_items", "raw_images", "truth"):
        assert getattr(first, name).equals(getattr(second, name))
    assert not first.raw_interactions.equals(shop("tiny", dirty_rows=True, seed=1).raw_interactions)


def test_the_default_shop_has_the_size_it_promises(default: Storefront) -> None:
    assert len(default.raw_items) == 600
    assert default.raw_interactions["user_id"].n_unique() == 1_500
    assert 55_000 < len(default.raw_interactions) < 75_000
    assert default.raw_interactions.group_by("user_id").len()["len"].min() >= 3
    assert default.raw_interactions.select("user_id", "item_id").is_unique().all()
    assert default.raw_interactions["timestamp"].is_between(OPENING, OPENING + MONTHS_18 + 86_400).all()


@pytest.mark.parametrize(
    ("switch", "attribute"),
    [("image_taste", "style"), ("text_taste", "theme"), ("knowledge_taste", "mood"), ("long_term_taste", "genre")],
)
def test_a_taste_shows_in_what_users_take_and_vanishes_with_its_switch(
    default: Storefront, switch: str, attribute: str
) -> None:
    assert trace(default, one_hot(default, attribute)) > 10
    without = shop(**{switch: False})
    assert abs(trace(without, one_hot(without, attribute))) < 4


def test_communities_show_in_what_users_take_and_vanish_with_their_switch(default: Storefront) -> None:
    items = vectors(default.truth.filter(pl.col("kind") == "item"))[:, BLOCKS["community"]]
    assert items.shape == (600, COMMUNITY_WIDTH)
    assert trace(default, items) > 10
    assert abs(trace(shop(similar_users=False), items)) < 4


def test_neighbours_in_a_visit_share_an_occasion_only_if_intent_is_planted(default: Storefront) -> None:
    def share(front: Storefront) -> float:
        log, items = log_and_items(front)
        log = log.join(items.select("item", "occasion"), on="item").sort("user", "timestamp")
        same = (pl.col("occasion") == pl.col("occasion").shift(1)).filter(
            pl.col("session_id") == pl.col("session_id").shift(1)
        )
        return log.select(same.mean()).item()

    assert share(default) > 0.4
    assert share(shop(short_term_intent=False)) < 1.5 / 16


def test_tastes_carry_over_between_domains_only_if_that_is_planted(default: Storefront) -> None:
    def agreement(front: Storefront) -> float:
        log, _ = log_and_items(front)
        books, films = (
            profiles(log.filter(domain=domain), np.hstack([one_hot(front, name) for name in ATTRIBUTES]))
            for domain in ("books", "films")
        )
        return surprise(lambda rng: float((books * (films if rng is None else rng.permutation(films))).sum()))

    assert agreement(default) > 10
    assert abs(agreement(shop(cross_domain=False, similar_users=False, short_term_intent=False))) < 4


def test_drift_changes_lasting_tastes_once_and_only_if_it_is_planted(default: Storefront) -> None:
    def states(front: Storefront) -> pl.Series:
        users = front.truth.filter(pl.col("kind") == "user")
        lasting = vectors(users)[:, : BLOCKS["community"].stop]
        return (
            users.select("id", state=pl.Series([row.tobytes() for row in lasting])).group_by("id").n_unique()["state"]
        )

    drifting = states(default)
    assert drifting.max() == 2
    assert (drifting == 2).mean() > 0.55  # 7 in 8 of those who come before and after
    users = default.truth.filter(pl.col("kind") == "user")
    genres = vectors(users)[:, BLOCKS["books.genre"]]
    kept = users.select("id", state=pl.Series([row.tobytes() for row in genres])).group_by("id").n_unique()["state"]
    assert kept.max() == 1  # what is liked for long is liked all along
    assert states(shop(drift=False)).max() == 1


def test_a_quarter_of_the_last_windows_items_is_new_and_nobody_takes_one_before_its_release(
    default: Storefront,
) -> None:
    log, items = log_and_items(default)
    new = items.filter(pl.col("release") > OPENING)
    assert 0.2 < len(new) / len(items) < 0.3
    assert new["release"].min() >= OPENING + 0.8 * MONTHS_18
    early = log.join(items.select("item", "release"), on="item").filter(pl.col("timestamp") < pl.col("release"))
    assert early.is_empty()
    assert log.join(new.select("item"), on="item", how="semi")["item"].n_unique() > 0.9 * len(new)
    assert (planted_attributes(shop("tiny", new_items=False).truth)["release"] == OPENING).all()


def test_catalogue_order_tells_neither_popularity_nor_release(default: Storefront) -> None:
    log, items = log_and_items(default)
    taken = np.bincount(log["item"].to_numpy(), minlength=len(items))
    for column in (taken, items["release"].to_numpy() > OPENING):
        assert abs(np.corrcoef(np.arange(len(items)), column)[0, 1]) < 0.12  # 3 / sqrt(600)


def test_sessions_ratings_and_the_second_domain_can_be_switched_off() -> None:
    plain = shop("tiny", sessions=False, ratings=False, two_domains=False)
    assert plain.raw_interactions["session_id"].null_count() == len(plain.raw_interactions)
    assert plain.raw_interactions["rating"].null_count() == len(plain.raw_interactions)
    assert set(plain.raw_interactions["domain"]) == set(plain.raw_items["domain"]) == {"books"}
    full = shop("tiny")
    assert set(full.raw_interactions["domain"]) == {"books", "films"}
    assert set(full.raw_interactions["rating"]) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert (full.raw_interactions.group_by("session_id").agg(pl.col("user_id").n_unique())["user_id"] == 1).all()


def test_dirty_rows_are_about_one_percent_and_leave_the_clean_rows_as_they_are(default: Storefront) -> None:
    dirty = shop(dirty_rows=True).raw_interactions
    broken = {
        "missing user": pl.col("user_id").is_null(),
        "rating": pl.col("rating") > 5,
        "timestamp": pl.col("timestamp") < 0,
        "duplicate": ~pl.struct(pl.exclude("row")).is_first_distinct(),
    }
    each = len(default.raw_interactions) // 400
    for name, rule in broken.items():
        assert dirty.filter(rule).height == each, name
    clean = dirty.filter(~pl.any_horizontal(broken.values())).drop("row")
    assert clean.equals(default.raw_interactions.drop("row"))


def test_switching_one_signal_off_leaves_shelf_and_visits_as_they_were() -> None:
    full, without = shop("tiny"), shop("tiny", image_taste=False, similar_users=False)
    assert full.raw_items.equals(without.raw_items)
    assert full.raw_images.equals(without.raw_images)
    assert full.truth.select("kind", "id", "since").equals(without.truth.select("kind", "id", "since"))


@pytest.mark.parametrize(
    ("switch", "changed"),
    [
        ("image_taste", {"books.style", "films.style"}),
        ("text_taste", {"books.theme", "films.theme", "wish"}),
        ("knowledge_taste", {"books.mood", "films.mood"}),
        ("long_term_taste", {"books.genre", "films.genre"}),
        ("short_term_intent", {"occasion", "wish"}),
        ("similar_users", {"community"}),
        ("cross_domain", {f"films.{name}" for name in ATTRIBUTES}),
        ("drift", {f"{domain}.{name}" for domain in ("books", "films") for name in ("style", "theme", "mood")}),
    ],
)
def test_a_switch_changes_the_cells_of_its_signal_and_no_other(switch: str, changed: set[str]) -> None:
    on, off = shop("tiny").truth, shop("tiny", **{switch: False}).truth
    kind = pl.col("kind")
    assert on.filter(kind == "item").equals(off.filter(kind == "item"))
    before, after = vectors(on.filter(kind == "user")), vectors(off.filter(kind == "user"))
    assert {name for name, cells in BLOCKS.items() if (before[:, cells] != after[:, cells]).any()} == changed
    if switch not in {"cross_domain", "drift"}:
        assert not any(after[:, BLOCKS[name]].any() for name in changed)


def test_a_quarter_of_what_is_asked_for_in_the_last_tenth_of_the_log_is_new(default: Storefront) -> None:
    log, items = log_and_items(default)
    log = log.join(items.select("item", new=pl.col("release") > OPENING), on="item", maintain_order="left")
    last = log.filter(pl.col("timestamp") >= log["timestamp"].quantile(0.9))
    assert 0.15 < last["new"].mean() < 0.35
    assert 0.1 < log.group_by("user_id", maintain_order=True).last()["new"].mean() < 0.35
    trained = log.filter(pl.col("timestamp") < log["timestamp"].quantile(0.8))["item"].unique()
    assert 0.1 < (~last["item"].is_in(trained.implode())).mean() < 0.3


def test_words_show_the_theme_and_never_the_mood_the_style_or_the_occasion(default: Storefront) -> None:
    themes = planted_attributes(default.truth)["theme"]
    for title, text, theme in zip(default.raw_items["title"], default.raw_items["description"], themes, strict=True):
        subject, detail = list(THEMES.values())[theme]
        assert f"about {subject}, with {detail}" in text
        assert not set(MOODS) & set(f"{title} {text}".lower().replace(",", " ").replace(".", " ").split())
    assert default.raw_items["title"].is_unique().all()


def test_covers_decode_and_a_style_can_be_told_from_pixels(default: Storefront) -> None:
    style = planted_attributes(default.truth)["style"].to_numpy()
    pictures = [Image.open(BytesIO(jpeg)) for jpeg in default.raw_images["jpeg"]]
    assert {picture.size for picture in pictures} == {(64, 64)}
    assert default.raw_images["image"].to_list() == default.raw_items["image"].to_list()
    assert len(set(default.raw_images["jpeg"])) == 600
    pixels = np.stack([np.asarray(picture.resize((8, 8)), float).ravel() for picture in pictures])
    even, odd = np.arange(0, 600, 2), np.arange(1, 600, 2)
    nearest = ((pixels[odd][:, None] - pixels[even][None]) ** 2).sum(2).argmin(1)
    assert (style[even][nearest] == style[odd]).mean() > 0.6  # chance 1/8


def test_choices_follow_the_softmax_of_affinities_over_what_is_on_the_shelf() -> None:
    logits = np.array([0.0, 1.0, 2.0, 3.0])
    n = 20_000
    vector = np.zeros((4, WIDTH), np.float32)
    vector[:, BLOCKS["popularity"]] = logits[:, None]
    release = np.array([0, 0, 0, 50])  # the last item comes after the visits
    shelf = Shelf(["a", "b", "c", "d"], {}, release, vector, pl.DataFrame())
    wanted = np.zeros((n, WIDTH), np.float32)
    wanted[:, BLOCKS["popularity"]] = 1
    visits = Visits(np.arange(n), np.zeros(n, int), np.full(n, 10), np.full(n, 2))
    visit, item = _choose(wanted, visits, shelf, np.random.default_rng(0))
    assert (np.bincount(visit) == 2).all()
    p = np.exp(logits[:3]) / np.exp(logits[:3]).sum()
    pairs = np.zeros((3, 3))
    np.add.at(pairs, (item[::2], item[1::2]), 1 / n)
    expected = p[:, None] * p[None, :] / (1 - p[:, None]) * (1 - np.eye(3))  # without replacement
    assert np.abs(pairs - expected).max() < 4 * np.sqrt(0.25 / n)


def tables(front: Storefront) -> tuple[pl.DataFrame, pl.DataFrame]:
    users = front.raw_interactions.select("user_id").unique(maintain_order=True).drop_nulls()
    number = (pl.int_range(pl.len()) + 1).cast(pl.Int32)
    return users.select(number.alias("user"), "user_id"), front.raw_items.select(number.alias("item"), "item_id")


def last_events(front: Storefront) -> tuple[Oracle, Queries, np.ndarray, pl.DataFrame]:
    users, items = tables(front)
    last = front.raw_interactions.group_by("user_id", maintain_order=True).last()
    last = last.join(users, on="user_id").join(items, on="item_id")
    none = np.zeros(len(last) + 1, np.int64)
    queries = Queries(
        np.arange(len(last)), last["user"].to_numpy(), last["timestamp"].to_numpy(), np.zeros(0, np.int32), none
    )
    return Oracle(front.truth, users, items), queries, last["item"].to_numpy(), last


def test_the_oracle_ranks_the_true_next_item_far_above_popularity(default: Storefront) -> None:
    oracle, queries, target, _ = last_events(default)
    scores = oracle.score(queries).numpy()
    assert scores.shape == (1_500, 601)
    assert scores.dtype == np.float32
    assert np.isneginf(scores[:, 0]).all()
    assert np.isfinite(scores[np.arange(1_500), target]).all()
    taken = np.bincount(log_and_items(default)[0]["item"].to_numpy() + 1, minlength=601)
    hits = (scores > scores[np.arange(1_500), target][:, None]).sum(1) < 10
    popular = np.array([(taken > taken[t]).sum() < 10 for t in target])
    assert hits.mean() > 0.4
    assert popular.mean() < 0.12


def test_ratings_tell_the_lasting_liking(default: Storefront) -> None:
    oracle, queries, target, last = last_events(default)
    liking, rating = oracle.liking(queries, target), last["rating"].to_numpy()
    assert np.corrcoef(liking, rating)[0, 1] > 0.7


def test_the_oracle_takes_the_vector_in_force_and_only_what_is_released() -> None:
    def vector(occasion: int) -> list[float]:
        cells = np.zeros(WIDTH, np.float32)
        cells[BLOCKS["occasion"].start + occasion] = 1
        return cells.tolist()

    rows = [
        ("user", "u", 100, vector(0)),
        ("user", "u", 200, vector(1)),
        ("item", "a", 0, vector(0)),
        ("item", "b", 0, vector(1)),
        ("item", "c", 150, vector(1)),
    ]
    truth = Truth.validate(pl.DataFrame(rows, schema=["kind", "id", "since", "vector"], orient="row"), cast=True)
    # The catalogue lists its items in another order than the truth.
    items = pl.DataFrame({"item": [1, 2, 3], "item_id": ["c", "a", "b"]}, schema_overrides={"item": pl.Int32})
    users = pl.DataFrame({"user": [1], "user_id": ["u"]}, schema_overrides={"user": pl.Int32})
    time = np.array([50, 100, 199, 200, 300])
    queries = Queries(
        np.arange(5), np.array([1, 1, 1, 1, 0], np.int32), time, np.zeros(0, np.int32), np.zeros(6, np.int64)
    )
    none = -np.inf
    assert Oracle(truth, users, items).score(queries).tolist() == [
        [none, none, 1, 0],  # before the first vector: the first
        [none, none, 1, 0],
        [none, 0, 1, 0],
        [none, 1, 0, 1],
        [none, 0, 0, 0],  # nobody we know
    ]
