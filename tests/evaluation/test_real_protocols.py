"""Published splits, number by number. A difference means a wrong rule, not a tolerance. Needs WEFT_TEST_DATA."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from weft.data.cleaning import Cleaned, clean
from weft.data.registry import specify
from weft.data.sequences import Task
from weft.data.sources import open_source
from weft.evaluation.protocols import protocol, tied_time, warm_pairs

OFTEN = pl.len().over("item") >= 5
WINDOW = pl.col("timestamp") // 600


@cache
def movielens(real_data: Path) -> Cleaned:
    """ML-1M, cleaned once for all tests of this file."""
    source = open_source(specify(real_data, "ml-1m", source=real_data / "ml-1m.zip"))
    source.check()
    return clean(source.interactions(), source.items().lazy())


def split(real_data: Path, name: str, **rules) -> pl.DataFrame:
    return protocol(name, rules).split(movielens(real_data).interactions.lazy()).collect()


def rows_of(splits: pl.DataFrame) -> dict[str, int]:
    return dict(splits.group_by("split").len().select(pl.col("split").cast(pl.String), "len").iter_rows())


# ---- CoLLM: labelled pairs by month ----------------------------------------------------------------------------


def numbers(real_data: Path, cleaned: Cleaned) -> tuple[dict[int, int], dict[int, int]]:
    """Our numbers of users and items to those of the public tables."""

    def table(name: str, key: str) -> pl.DataFrame:
        path = real_data / "collm-ml-1m" / f"{name}.tsv"
        return pl.read_csv(path, separator="\t", quote_char=None, schema_overrides={key: pl.String})

    users = table("users", "ml1m_user_id").join(cleaned.users, left_on="ml1m_user_id", right_on="user_id")
    items = table("items", "ml1m_movie_id").join(cleaned.items, left_on="ml1m_movie_id", right_on="item_id")
    return dict(users.select("user", "uid").iter_rows()), dict(items.select("item", "iid").iter_rows())


def histories(task: Task) -> list[list[int]]:
    return [part.tolist() for part in np.split(task.queries.items, task.queries.offsets[1:-1])]


def test_collms_months_have_the_published_sizes(real_data: Path) -> None:
    splits = split(real_data, "pointwise_collm_months")
    assert rows_of(splits) == {"train": 33_891, "validation": 10_401, "test": 7_331, "unused": 948_586}
    used = splits.filter(pl.col("split") != "unused")
    assert (used["user"].n_unique(), used["item"].n_unique()) == (838, 3_255)
    train = splits.filter(split="train")
    assert (train["user"].n_unique(), train["item"].n_unique()) == (740, 3_087)
    assert used.filter(pl.col("split") != "train")["target"].all()


def test_every_row_history_and_cold_mark_is_that_of_collms_public_tables(real_data: Path) -> None:
    cleaned = movielens(real_data)
    uid, iid = numbers(real_data, cleaned)
    public = pl.concat(
        pl.read_parquet(real_data / "collm-ml-1m" / f"{part}.parquet") for part in ("train", "valid", "test")
    )
    # CoLLM sorts by (user, time) with an unstable sort. With its order inside a second, our rules must give its table.
    order = {(u, i): row for u, i, row in public.select("uid", "iid", "row").iter_rows()}
    rows = cleaned.interactions
    pairs = zip(rows["user"].replace_strict(uid, default=0), rows["item"].replace_strict(iid, default=0), strict=True)
    theirs = pl.Series("row", [order.get(pair, -1) for pair in pairs], dtype=pl.Int64)
    rows = rows.with_columns(row=pl.when(theirs >= 0).then(theirs).otherwise(pl.col("row") + len(order)))
    rule = protocol("pointwise_collm_months")
    splits = rule.split(rows.lazy()).collect()
    events = rule.events(splits, len(cleaned.users), len(cleaned.items))
    found: dict[int, tuple] = {}
    # Training rows as if they were asked, to compare their histories as well.
    asked = splits.with_columns(
        split=pl.when(pl.col("split") == "train")
        .then(pl.lit("validation"))
        .otherwise("split")
        .cast(splits["split"].dtype),
        target=pl.col("split") != "unused",
    )
    for part in ("validation", "test"):
        task = rule.task(asked, part, len(cleaned.items))
        assert task.label is not None
        assert task.queries.time is not None
        warm = warm_pairs(events, task)
        for place, history in enumerate(histories(task)):
            found[int(task.queries.query[place])] = (
                uid[int(task.queries.user[place])],
                iid[int(task.target[place])],
                int(task.label[place]),
                int(task.queries.time[place]),
                int(warm[place]),
                [iid[item] for item in history],
            )
    wanted = {
        row["row"]: (
            row["uid"],
            row["iid"],
            int(row["label"]),
            int(row["timestamp"]),
            int(row["not_cold"]),
            row["his"][1:],
        )
        for row in public.iter_rows(named=True)
    }
    assert len(wanted) == 51_623
    assert found == wanted


def test_in_our_order_collms_histories_differ_inside_one_second_alone(real_data: Path) -> None:
    cleaned = movielens(real_data)
    uid, iid = numbers(real_data, cleaned)
    when = {
        (uid.get(u), iid.get(i)): t for u, i, t in cleaned.interactions.select("user", "item", "timestamp").iter_rows()
    }
    rule = protocol("pointwise_collm_months")
    task = rule.task(rule.split(cleaned.interactions.lazy()).collect(), "test", len(cleaned.items))
    public = pl.read_parquet(real_data / "collm-ml-1m" / "test.parquet")
    theirs = {(row["uid"], row["iid"]): (row["timestamp"], row["his"][1:]) for row in public.iter_rows(named=True)}
    ours = {
        (uid[int(user)], iid[int(item)]): [iid[each] for each in history]
        for user, item, history in zip(task.queries.user, task.target, histories(task), strict=True)
    }
    assert ours.keys() == theirs.keys()
    for (user, item), history in ours.items():
        second, published = theirs[user, item]
        before = [{each for each in items if when[user, each] < second} for items in (history, published)]
        assert before[0] == before[1]


# ---- sessions --------------------------------------------------------------------------------------------------


def test_llm4sbrs_sessions_have_the_published_sizes(real_data: Path) -> None:
    splits = split(real_data, "paper_sessions_user_order")
    used = splits.filter(pl.col("split") != "unused")
    assert (used["session"].n_unique(), len(used), used["item"].n_unique()) == (53_121, 987_610, 3_416)
    sessions = dict(
        used.group_by("split")
        .agg(pl.col("session").n_unique())
        .select(pl.col("split").cast(pl.String), "session")
        .iter_rows()
    )
    assert sessions == {"train": 43_027, "validation": 4_781, "test": 5_313}
    assert sessions["train"] + sessions["validation"] == 47_808
    assert round(len(used) / 53_121, 2) == 18.59
    users = movielens(real_data).users.with_columns(pl.col("user_id").cast(pl.Int64))
    by_user = used.join(users, on="user").group_by("split").agg(pl.col("user_id").unique())
    number = {str(name): set(ids) for name, ids in by_user.iter_rows()}
    assert (min(number["test"]), max(number["test"]), len(number["test"])) == (5_424, 6_040, 617)
    assert len(number["test"] & (number["validation"] | number["train"])) == 1
    rule = protocol("paper_sessions_user_order")
    assert rule.task(splits, "test", 3_883).candidates.sum() == 3_416


def test_ten_minute_sessions_in_order_of_time_are_cut_in_july_2001(real_data: Path) -> None:
    rows = movielens(real_data).interactions.filter(OFTEN)
    rule = protocol("sessions", {"by": "clock", "seconds": 600})
    splits = rule.split(rows.lazy()).collect()
    starts = splits.group_by("session", "split").agg(pl.col("timestamp").min())
    assert starts.filter(pl.col("split") != "unused").height == 53_121
    test = starts.filter(split="test")
    assert test.height == 5_313
    assert datetime.fromtimestamp(test["timestamp"].min(), UTC).date().isoformat() == "2001-07-14"
    asked = set(splits.filter(split="test")["user"])
    trained = set(splits.filter(pl.col("split").is_in(["train", "validation"]))["user"])
    assert (len(asked), len(asked & trained)) == (713, 709)


def test_rules_that_are_not_llm4sbrs_give_other_sizes(real_data: Path) -> None:
    rows = movielens(real_data).interactions.lazy()
    kept = rows.filter(OFTEN)

    def size(sessions: pl.LazyFrame) -> tuple[int, int]:
        long = sessions.filter(pl.len().over("user", "window") >= 2)
        return long.select(pl.struct("user", "window").n_unique(), clicks=pl.len()).collect().row(0)

    gaps = protocol("sessions", {"by": "gap", "seconds": 600}).split(kept).collect()
    assert gaps["session"].max() == 20_412
    assert size(kept.with_columns(window=WINDOW)) == (53_121, 987_610)
    first = rows.with_columns(window=WINDOW).filter(pl.len().over("user", "window") >= 2)
    assert size(first.filter(OFTEN)) == (53_116, 987_547)
    since = pl.col("timestamp") - pl.col("timestamp").min().over("user")
    assert size(kept.with_columns(window=since // 600)) == (50_289, 987_805)
    whole = rows.with_columns(window=WINDOW, often=OFTEN).filter(pl.col("often").all().over("user", "window"))
    assert size(whole) == (52_711, 974_675)


# ---- DUALRec ---------------------------------------------------------------------------------------------------


def test_dualrecs_cut_of_rows_has_the_published_sizes(real_data: Path) -> None:
    splits = split(real_data, "paper_leaky")
    used = splits.filter(pl.col("split") != "unused")
    assert len(used) == 747_869
    users = {str(name): set(ids) for name, ids in used.group_by("split").agg(pl.col("user").unique()).iter_rows()}
    assert {name: len(ids) for name, ids in users.items()} == {"train": 4_203, "validation": 911, "test": 928}
    assert len(users["train"] & users["validation"]) == len(users["validation"] & users["test"]) == 1
    assert len(protocol("paper_leaky").task(splits, "test", 3_883)) == 926


def test_the_clean_thousand_asks_those_whose_last_movie_is_in_it(real_data: Path) -> None:
    splits = split(real_data, "leave_one_out_top1000")
    assert rows_of(splits) == {"train": 739_329, "validation": 4_263, "test": 4_270, "unused": 252_347}
    train = splits.filter(split="train")
    assert train["item"].n_unique() == 1_000
    assert set(splits.filter("target")["item"]) <= set(train["item"])


# ---- ties ------------------------------------------------------------------------------------------------------


def test_about_42_percent_of_the_last_movies_are_decided_by_the_row(real_data: Path) -> None:
    assert round(float(tied_time(split(real_data, "leave_one_out"), "test").mean()), 2) == 0.42


@pytest.mark.parametrize(
    ("clean_days", "rows"), [(False, (768_409, 98_441, 126_785)), (True, (768_386, 98_289, 126_960))]
)
def test_po4isrs_windows_of_a_day_as_we_count_them(real_data: Path, clean_days: bool, rows: tuple) -> None:
    splits = split(real_data, "paper_candidates_20", clean_days=clean_days)
    found = rows_of(splits)
    assert (found["train"], found["validation"], found["test"]) == rows
    assert splits["target"].sum() == 2_000
    straddling = splits.filter(pl.col("split") != "unused").group_by("session").agg(pl.col("split").n_unique())
    assert (straddling["split"].max() == 1) == clean_days
