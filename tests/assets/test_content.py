"""What items are about, through the assets: every artifact is made, and paid for once."""

from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import polars as pl
import pytest

from assets.content import is_current
from pipelines import jobs
from resources import caches
from resources.artifacts import ArtifactStore
from resources.catalogue import CATALOGUE
from tests.assets.making import TINY_HOUSE, make
from weft.cells import Cell
from weft.data import registry

ITEM = Cell("tiny", profile="offline")
INTENT = Cell("tiny", "sessions", "offline")
ASSESSMENT = Cell("tiny", "pointwise_time", "offline")
HOUSE = Cell("shared")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage in which everything about the items of ``tiny`` has been made once."""
    storage = tmp_path_factory.mktemp("content") / "storage"
    registry.register_built_in(str(storage))
    registry.save(
        str(storage), registry.specify(str(storage), "tiny", format="storefront", settings={"preset": "tiny"})
    )
    assert make(storage, jobs.INGEST | jobs.HOUSE | jobs.CONTENT, TINY_HOUSE).success
    return storage


def test_every_item_has_its_vectors_and_every_picture_one(storage: Path) -> None:
    store = ArtifactStore(storage)
    items = set(range(1, 61))
    assert set(store.read("content.image_embeddings", ITEM)["item"]) == items
    for asset, texts in (
        ("text", {"text", "enriched"}),
        ("llm", {"text"}),
        ("sentence", {"title", "text", "enriched"}),
    ):
        table = store.read(f"content.{asset}_embeddings", ITEM)
        assert set(table["of"].cast(pl.String)) == texts
        assert set(table.filter(of="text")["item"]) == items
        vectors = table["vector"].to_numpy()
        assert np.isfinite(vectors).all()
        if asset != "llm":
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_texts_of_one_meaning_for_all_rows_are_told_apart(storage: Path) -> None:
    vectors = ArtifactStore(storage).read("content.sentence_embeddings", ITEM).filter(of="title")["vector"].to_numpy()
    near = vectors @ vectors.T
    assert near[~np.eye(len(near), dtype=bool)].max() < 0.999  # each title has a name of its own


def test_each_family_has_a_prompt_an_answer_and_a_reading_per_subject(storage: Path) -> None:
    store = ArtifactStore(storage)
    for family, reading, cell, keys in (
        ("enrichment", "item_enrichments", ITEM, ["item"]),
        ("intent", "intent_inferences", INTENT, ["session", "view"]),
        ("assessment", "self_assessments", ASSESSMENT, ["row"]),
    ):
        prompts = store.read(f"content.{family}_prompts", cell)
        answers = store.read(f"content.{family}_generations", cell)
        read = store.read(f"content.{reading}", cell)
        assert len(prompts) > 0
        assert prompts.select(keys).equals(answers.select(keys))
        assert prompts.select(keys).equals(read.select(keys))
        assert read["prompt_version"].str.starts_with("brief@").all()
        assert read["revision"].n_unique() == 1
        assert (read["tokens_in"] > 0).all()
    intents = store.read("content.intent_inferences", INTENT)
    assert intents["item"].drop_nulls().is_between(1, 60).all()
    assert set(intents["view"].cast(pl.String)) == {"long", "short", "plain"}


def test_a_localized_intent_is_the_weighted_sum_of_the_names_that_it_lists(storage: Path) -> None:
    store = ArtifactStore(storage)
    titles = store.read("content.sentence_embeddings", ITEM).filter(of="title").sort("item")["vector"].to_numpy()
    table = store.read("content.localized_intents", INTENT)
    assert table["k"].unique().to_list() == [5]
    row = table.filter(~pl.col("empty")).row(0, named=True)
    expected = np.array(row["similarities"]) @ titles[np.array(row["items"]) - 1]
    np.testing.assert_allclose(row["vector"], expected, atol=1e-4)


def test_every_content_artifact_opens_in_duckdb(storage: Path) -> None:
    with duckdb.connect(storage / CATALOGUE, read_only=True) as connection:
        views = connection.sql("select table_name from information_schema.tables where table_schema = 'content'").pl()
        made = {leaf.asset.split(".")[1] for leaf in ArtifactStore(storage).leaves("content.*")}
        assert len(made) == 14
        assert made <= set(views["table_name"])
        for name in made:
            assert len(connection.table(f"content.{name}")) > 0


def test_a_second_run_asks_no_model_and_changes_no_byte_and_another_title_asks_once(storage: Path) -> None:
    store = ArtifactStore(storage)
    before = {(leaf.asset, leaf.cell): leaf.digest for leaf in store.leaves("content.*")}
    answers = caches.generations(store).entries()["answers"].sum()
    house = store.digest("house.language_model", HOUSE)

    assert make(storage, jobs.HOUSE | jobs.CONTENT, TINY_HOUSE).success
    assert store.digest("house.language_model", HOUSE) == house
    assert {(leaf.asset, leaf.cell): leaf.digest for leaf in store.leaves("content.*")} == before
    assert caches.generations(store).entries()["answers"].sum() == answers

    items = store.read("interactions.items", Cell("tiny"))
    renamed = pl.when(pl.col("item") == 7).then(pl.lit("A Name of No Other")).otherwise("title").alias("title")
    store.write("interactions.items", Cell("tiny"), items.with_columns(renamed))
    enrichment = dg.AssetSelection.assets(
        *(["content", name] for name in ("enrichment_prompts", "enrichment_generations", "item_enrichments"))
    )
    assert make(storage, enrichment).success
    asked = store.read("content.enrichment_generations", ITEM)
    malformed_tries = asked.filter(item=7)["attempts"][0]
    assert caches.generations(store).entries()["answers"].sum() == answers + malformed_tries


def test_house_models_asked_for_otherwise_are_trained_anew(storage: Path) -> None:
    store = ArtifactStore(storage)
    before = store.digest("house.image_text_model", HOUSE)
    other = {"house__image_text_model": {"config": {**TINY_HOUSE["house__image_text_model"]["config"], "seed": 1}}}
    only = dg.AssetSelection.assets(["house", "image_text_model"], ["house", "image_text_model_history"])
    assert make(storage, only, other).success
    assert store.digest("house.image_text_model", HOUSE) != before


def test_a_shop_without_visits_and_ratings_gets_what_its_items_give_and_is_told_the_rest(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    rows = [(f"u{user}", f"p{(user + k) % 9}", 1_000_000 * k + user) for user in range(12) for k in range(4)]
    pl.DataFrame(rows, schema=["user", "item", "at"], orient="row").write_csv(tmp_path / "events.csv")
    mapping = {"interactions": {"timestamp": "at"}}
    file = str(tmp_path / "events.csv")
    registry.save(
        str(storage), registry.specify(str(storage), "seldom", format="tabular", source=file, mapping=mapping)
    )
    names = ("intent_prompts", "intent_generations", "intent_inferences", "localized_intents", "assessment_prompts")
    made = dg.AssetSelection.assets(*(["content", name] for name in names))

    result = make(storage, jobs.INGEST | made, dataset="seldom")

    assert result.success
    store = ArtifactStore(storage)
    assert {leaf.cell.protocol for leaf in store.leaves("interactions.splits")} == {"leave_one_out"}
    assert not store.leaves("content.*")


def test_content_of_a_catalogue_that_has_changed_is_not_taken_for_todays(storage: Path) -> None:
    store = ArtifactStore(storage)
    items = store.read("interactions.items", Cell("tiny"))
    assert make(storage, jobs.CONTENT, TINY_HOUSE).success
    assert is_current(store, "content.localized_intents", INTENT)

    store.write("interactions.items", Cell("tiny"), items.with_columns(title=pl.col("title").reverse()))

    for asset, cell in (("localized_intents", INTENT), ("item_enrichments", ITEM), ("sentence_embeddings", ITEM)):
        assert not is_current(store, f"content.{asset}", cell)
    alone = dg.AssetSelection.assets(["content", "sentence_embeddings"])
    assert make(storage, alone).success
    assert set(store.read("content.sentence_embeddings", ITEM)["of"].cast(pl.String)) == {"title", "text"}


def test_a_house_model_that_stands_is_kept_by_a_run_that_asks_for_none(storage: Path) -> None:
    store = ArtifactStore(storage)
    before = store.digest("house.language_model", HOUSE)
    assert make(storage, jobs.HOUSE).success
    assert store.digest("house.language_model", HOUSE) == before


def test_a_house_model_without_its_history_is_trained_again(storage: Path) -> None:
    store = ArtifactStore(storage)
    store.path("house.image_text_model_history", HOUSE).unlink()
    only = dg.AssetSelection.assets(["house", "image_text_model"], ["house", "image_text_model_history"])
    assert make(storage, only, TINY_HOUSE).success
    assert store.exists("house.image_text_model_history", HOUSE)


def test_every_vector_names_the_house_model_that_it_was_made_with(storage: Path) -> None:
    store = ArtifactStore(storage)
    for asset, house in (("image_embeddings", "image_text_model"), ("llm_embeddings", "language_model")):
        inputs = store.footer(f"content.{asset}", ITEM)["inputs"]
        assert f"house.{house}" in inputs


def test_a_shop_without_titles_is_asked_nothing(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    rows = [(f"u{user}", f"p{(user + k) % 9}", 60 * k + user, 5) for user in range(12) for k in range(4)]
    pl.DataFrame(rows, schema=["user", "item", "at", "stars"], orient="row").write_csv(tmp_path / "events.csv")
    mapping = {"interactions": {"timestamp": "at", "rating": "stars"}}
    file = str(tmp_path / "events.csv")
    registry.save(
        str(storage), registry.specify(str(storage), "untitled", format="tabular", source=file, mapping=mapping)
    )
    wanted = jobs.INGEST | jobs.HOUSE | jobs.CONTENT
    assert make(storage, wanted, TINY_HOUSE, dataset="untitled").success
    store = ArtifactStore(storage)
    assert all(store.read(leaf.asset, leaf.cell).is_empty() for leaf in store.leaves("content.*_prompts"))
