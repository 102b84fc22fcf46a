"""Published counts of public data sets. A difference means a wrong rule, not a tolerance. Needs WEFT_TEST_DATA."""

from pathlib import Path

import polars as pl
import pytest

from weft.data.cleaning import Cleaned, clean
from weft.data.registry import DatasetSpec, specify
from weft.data.sources import Source, open_source
from weft.evaluation.protocols import protocol


def opened(real_data: Path, tmp_path: Path, name: str, **more) -> tuple[Source, Cleaned]:
    spec = specify(tmp_path, name, source=real_data / f"{name}.zip", **more)
    source = open_source(spec)
    source.check()
    return source, clean(source.interactions(), source.items().lazy(), spec.rules)


def ten_minute_sessions(cleaned: Cleaned) -> pl.DataFrame:
    return cleaned.interactions.group_by("user", pl.col("timestamp") // 600).len()


def test_movielens_1m_has_its_published_counts(real_data, tmp_path):
    source, cleaned = opened(real_data, tmp_path, "ml-1m")
    events = cleaned.interactions
    assert (len(events), len(cleaned.users), len(cleaned.items)) == (1_000_209, 6_040, 3_883)
    assert events["item"].n_unique() == 3_706
    assert cleaned.rejected.is_empty()
    assert events["rating"].value_counts().sort("rating")["count"].to_list() == [
        56_174,
        107_557,
        261_197,
        348_971,
        226_310,
    ]
    assert (events["timestamp"].min(), events["timestamp"].max()) == (956_703_932, 1_046_454_590)
    tied = pl.len().over("user", "timestamp") > 1
    assert events.select(tied.sum()).item() == 773_790
    assert len(ten_minute_sessions(cleaned)) == 65_179
    per_user = events.group_by("user").len()["len"]
    assert (per_user.min(), per_user.max()) == (20, 2_314)
    titles = source.items()["title"]
    assert titles.n_unique() == 3_883
    assert "Misérables, Les (1995)" in titles.to_list()


def test_movielens_1m_without_rare_items_has_its_published_counts(real_data, tmp_path):
    _, cleaned = opened(real_data, tmp_path, "ml-1m", rules={"min_item_events": 5})
    assert (len(cleaned.interactions), len(cleaned.items)) == (999_611, 3_416)
    assert set(cleaned.rejected["rule"]) == {"few_events"}
    session = ten_minute_sessions(cleaned)
    kept = session.filter(pl.col("len") >= 2)
    assert (len(kept), kept["len"].sum()) == (53_121, 987_610)


def test_movielens_100k_has_its_published_counts(real_data, tmp_path):
    source, cleaned = opened(real_data, tmp_path, "ml-100k")
    assert (len(cleaned.interactions), len(cleaned.users), len(cleaned.items)) == (100_000, 943, 1_682)
    assert cleaned.interactions.select((pl.len().over("user", "timestamp") > 1).sum()).item() == 75_772
    items = source.items()
    assert items["genres"].explode().drop_nulls().n_unique() == 18
    assert (items["genres"].list.len() == 0).sum() == 2  # flagged as of unknown genre
    assert items.filter(item_id="267").select("title", "year").row(0) == ("unknown", None)
    assert items["year"].null_count() == 1


@pytest.mark.slow
def test_posters_reach_the_items_of_both_editions(real_data, tmp_path):
    zipped, table = real_data / "ml-1m-posters.zip", real_data / "ml-100k-poster-map.tsv"
    large = open_source(specify(tmp_path, "ml-1m", source=real_data / "ml-1m.zip", images=zipped))
    assert large.items()["image"].drop_nulls().len() == 3_872
    assert len(large.images()) == 3_872
    small = open_source(specify(tmp_path, "ml-100k", source=real_data / "ml-100k.zip", images=zipped, image_map=table))
    assert small.items()["image"].drop_nulls().len() == 1_668
    assert len(small.images()) == 1_650


def shop(real_data: Path, tmp_path: Path, name: str, folder: str) -> tuple[DatasetSpec, Source, Cleaned]:
    spec = specify(tmp_path, name, source=real_data / folder)
    source = open_source(spec)
    source.check()
    return spec, source, clean(source.interactions(), source.items().lazy(), spec.rules)


def test_amazon_beauty_as_sequences_has_its_published_counts(real_data, tmp_path):
    _, _, cleaned = shop(real_data, tmp_path, "amazon-beauty-sequences", "amazon-beauty")
    assert (len(cleaned.users), len(cleaned.items), len(cleaned.interactions)) == (22_363, 12_101, 198_502)
    lengths = cleaned.interactions.group_by("user").len()["len"]
    assert (lengths.min(), lengths.max()) == (5, 204)
    assert cleaned.interactions.group_by("item").len()["len"].min() == 5
    assert cleaned.interactions.select("user", "item").is_unique().all()
    assert cleaned.items["title"].null_count() == 15
    assert cleaned.rejected.is_empty()


def test_amazon_beauty_with_times_has_its_published_counts(real_data, tmp_path):
    _, source, cleaned = shop(real_data, tmp_path, "amazon-beauty", "amazon-beauty")
    events = cleaned.interactions
    assert (len(cleaned.users), len(cleaned.items), len(events)) == (22_332, 12_086, 198_215)
    day = pl.from_epoch(events["timestamp"])
    assert (str(day.min()), str(day.max())) == ("2002-06-12 00:00:00", "2014-07-23 00:00:00")
    assert (events["timestamp"] % 86_400).max() == 0
    assert events.select((pl.len().over("user", "timestamp") > 1).sum()).item() == 113_993
    left_out = cleaned.rejected.group_by("source", "rule").len().rows()
    assert left_out == [("items", "few_events", 15)]  # those without a title, which nobody touches in this file
    assert cleaned.items["title"].null_count() == 0
    assert not source.items()["title"].drop_nulls().str.contains("&amp;").any()


def test_both_orders_of_amazon_beauty_agree(real_data, tmp_path):
    found = {}
    for name in ("amazon-beauty", "amazon-beauty-sequences"):
        _, _, cleaned = shop(real_data, tmp_path, name, "amazon-beauty")
        events = cleaned.interactions.join(cleaned.users, on="user").join(cleaned.items, on="item")
        found[name] = events.select("user_id", "item_id", "timestamp", "row").sort("user_id", "timestamp", "row")
    untitled = found["amazon-beauty-sequences"].join(found["amazon-beauty"], on="item_id", how="semi")
    rows = untitled.join(found["amazon-beauty"], on="user_id", how="semi")
    assert rows["item_id"].to_list() == found["amazon-beauty"]["item_id"].to_list()


def test_food_and_kitchen_have_their_published_counts_and_ask_for_the_last_item_of_a_held_out_sequence(
    real_data, tmp_path
):
    spec, source, cleaned = shop(real_data, tmp_path, "amazon-food-kitchen", "amazon-food-kitchen")
    assert cleaned.rejected.is_empty()
    assert cleaned.items["domain"].value_counts().sort("domain").rows() == [("Food", 8_661), ("Kitchen", 27_637)]
    assert cleaned.items["title"].null_count() == 0
    assert not source.items()["title"].str.contains("&amp;").any()
    rules = protocol("predefined", spec.protocols["predefined"])
    events = cleaned.interactions
    parts = events.group_by("part").agg(
        pl.col("user").n_unique(), pl.len(), (pl.col("domain") == "Food").sum().alias("food")
    )
    assert parts.sort("part").rows() == [
        ("test", 937, 15_726, 6_447),
        ("train", 51_164, 99_170 + 37_281 + 265_817, 45_849 + 37_281),
        ("validation", 960, 18_133, 8_739),
    ]
    in_train = events.filter(part="train")["item"].n_unique()
    assert (events["item"].n_unique(), in_train) == (36_298, 36_229)
    splits = rules.split(events.lazy()).collect()
    domain = cleaned.items["domain"]
    for split, food, kitchen in (("validation", 363, 597), ("test", 300, 637)):
        task = rules.task(splits, split, len(cleaned.items))
        asked = domain.gather(task.target - 1).value_counts().sort("domain")["count"].to_list()
        assert asked == [food, kitchen]
        assert int(task.queries.lengths.sum()) + len(task) == len(events.filter(part=split))
    assert len(rules.events(splits, len(cleaned.users), len(cleaned.items))) == 402_268
