"""Published counts of MovieLens. A difference means a wrong rule, not a tolerance. Needs WEFT_TEST_DATA."""

from pathlib import Path

import polars as pl
import pytest

from weft.data.cleaning import Cleaned, clean
from weft.data.registry import specify
from weft.data.sources import Source, open_source


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
