"""Labelled pairs through the real stages: scored, reported and served beside rankings, each kind in its own leaves."""

from pathlib import Path

import polars as pl

from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell
from weft.data import registry

QUICK = {"behaviour__sasrec": {"config": {"epochs": 1, "width": 8, "blocks": 1}}}
TINY = Cell("tiny")


def test_a_pointwise_run_scores_every_pair_ranks_nothing_and_serves_what_was_not_taken(tiny_storage: Path) -> None:
    systems = ("popularity", "itemknn", "sasrec", "oracle")
    assert make(tiny_storage, *systems, protocols=["pointwise_time"], ops=QUICK).success
    store = ArtifactStore(tiny_storage)

    splits = store.read("interactions.splits", Cell("tiny", "pointwise_time"))
    held = splits.filter("target").sort("row")
    leaves = store.leaves("*.*scored_pairs", dataset="tiny")
    assert {leaf.asset.split(".")[1].removesuffix("_scored_pairs") for leaf in leaves} == set(systems)
    for leaf in leaves:
        table = store.read(leaf.asset, leaf.cell).sort("row")
        assert table.select("row", "user", "item", "label").equals(held.select("row", "user", "item", "label"))
    assert not store.leaves("*.*rankings", dataset="tiny")

    cell = leaves[0].cell
    assert set(store.read("behaviour.sasrec_history", cell)["metric"]) == {"uauc"}
    train = splits.filter(split="train")
    assert set(store.read("behaviour.user_embeddings", cell)["user"]) == set(train.filter("label")["user"])

    metrics = store.read("reports.metrics", TINY).filter(split="test", slice="all")
    assert set(metrics["metric"]) == {"auc", "uauc"}
    assert metrics.filter(metric="auc")["n"].unique().to_list() == [held.filter(split="test").height]
    board = store.read("reports.leaderboard", TINY)
    assert board["metric"].unique().to_list() == ["auc"]
    assert board["system"][0] == "oracle", "nobody can beat the taste that the ratings are drawn from"
    assert board["value"].is_sorted(descending=True)
    assert board["uauc"].null_count() == 0

    best = (
        store.read("reports.metrics", TINY)
        .filter((pl.col("system") != "oracle") & (pl.col("metric") == "uauc"), split="validation", slice="all")
        .sort("value", descending=True)["system"][0]
    )
    served = store.read("serving.recommendations", TINY)
    assert set(served["system"]) <= {best, "recent_popularity"}
    taken = store.read("interactions.interactions", TINY)
    assert served.join(taken, on=["user", "item"], how="semi").is_empty()
    liked = taken.filter(pl.col("rating") >= 4).join(store.read("interactions.items", TINY), on="item", how="left")
    named = served.drop_nulls("because").join(
        liked, left_on=["user", "because"], right_on=["user", "title"], how="anti"
    )
    assert named.is_empty(), "what somebody disliked is no evidence"


def test_ratings_of_which_none_is_liked_are_one_clear_error(tiny_storage: Path) -> None:
    storage = str(tiny_storage)
    registry.save(storage, registry.specify(storage, "tiny", protocols={"pointwise_time": {"positive_from": 100}}))
    ran = make(tiny_storage, "popularity", protocols=["pointwise_time"])
    assert "no training row is liked" in str(ran.failure_data_for_node("baselines__popularity"))


def test_a_ranking_and_a_pointwise_protocol_stand_side_by_side(tiny_storage: Path) -> None:
    assert make(tiny_storage, "popularity", protocols=["leave_one_out", "pointwise_time"]).success
    store = ArtifactStore(tiny_storage)
    outcomes = [*store.leaves("*.*rankings", dataset="tiny"), *store.leaves("*.*scored_pairs", dataset="tiny")]
    assert [(leaf.asset, leaf.cell.protocol) for leaf in outcomes] == [
        ("baselines.popularity_rankings", "leave_one_out"),
        ("baselines.popularity_scored_pairs", "pointwise_time"),
    ]
    board = store.read("reports.leaderboard", TINY)
    assert board.select("protocol", "metric").rows() == [("leave_one_out", "ndcg@10"), ("pointwise_time", "auc")]
