"""Aligned items through the asset: from the vectors of a catalogue to verified leaves."""

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from assets.alignment import aligned_items
from assets.partitions import DATASETS
from pipelines.definitions import default_resources
from resources import weights
from resources.artifacts import ArtifactStore
from resources.catalogue import query
from weft.cells import Cell

N = 60
TINY, PLACE, HERE = Cell("tiny"), Cell("tiny", profile="offline"), Cell("tiny", profile="offline", seed=0)
QUICK = {"epochs": 3, "width": 4}
LEAVES = ("aligned_items", "aligned_items_history", "heads", "quality")


@pytest.fixture
def store(tiny_storage: Path) -> ArtifactStore:
    """Items, most with a picture, as the encoders saw them."""
    store = ArtifactStore(tiny_storage)
    catalogue(store)
    vectors(store)
    return store


def catalogue(store: ArtifactStore, title: str = "Item") -> None:
    number = pl.int_range(1, N + 1, dtype=pl.Int32, eager=True)
    items = pl.select(
        item=number,
        item_id=pl.lit("i") + number.cast(pl.String),
        title=pl.lit(title),
        year=pl.lit(None, pl.Int32),
        genres=pl.lit(None, pl.List(pl.String)),
        description=pl.lit(None, pl.String),
        domain=pl.lit(None, pl.String),
        has_image=number > 10,
    )
    store.write("interactions.items", TINY, items)


def vectors(store: ArtifactStore, pictured: slice = slice(10, N), swap: tuple[int, int] | None = None) -> None:
    """Vectors of the pictures and of the texts; the last item has no text. ``swap``: these rows change pictures."""
    rng = np.random.default_rng(0)
    image, text = (rng.normal(size=(N, width)).astype(np.float32) for width in (5, 6))
    if swap:
        image[list(swap)] = image[list(reversed(swap))]
    items = np.arange(1, N + 1, dtype=np.int32)

    def table(rows: slice, found: NDArray[np.float32], **more: pl.Expr) -> pl.DataFrame:
        store.read("interactions.items", TINY)  # so that it is named among the inputs
        column = pl.Series(found[rows], dtype=pl.Array(pl.Float32, found.shape[1]))
        return pl.DataFrame({"item": items[rows]}).with_columns(vector=column, **more).select("item", *more, "vector")

    kinds = pl.Enum(["title", "text", "enriched"])
    store.write("content.image_embeddings", PLACE, lambda: table(pictured, image))
    both = [table(slice(0, N - 1), vectors, of=pl.lit(of, kinds)) for of, vectors in (("text", text), ("title", -text))]
    store.write("content.llm_embeddings", PLACE, lambda: (store.read("interactions.items", TINY), pl.concat(both))[1])


def make(store: ArtifactStore, seeds: tuple[int, ...] = (0,), **config: object) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, ["tiny"])
        return dg.materialize(
            [aligned_items],
            partition_key="tiny",
            instance=instance,
            resources=default_resources(str(store.base)),
            run_config={
                "ops": {"alignment__aligned_items": {"config": {**QUICK, **config}}},
                "resources": {"cells": {"config": {"seeds": list(seeds)}}},
            },
            raise_on_error=False,
        )


def test_every_item_has_a_vector_and_the_leaves_say_how_they_came_about(store: ArtifactStore) -> None:
    ran = make(store, seeds=(0, 3))
    assert ran.success
    table = store.read("alignment.aligned_items", HERE)
    assert table["item"].to_list() == list(range(1, N + 1))
    assert table.schema["image"] == table.schema["text"] == pl.Array(pl.Float32, 4)
    assert table.schema["vector"] == pl.Array(pl.Float32, 8)
    assert table.filter(pl.col("image").is_null())["item"].to_list() == list(range(1, 11))
    assert table.filter(pl.col("text").is_null())["item"].to_list() == [N]
    image, text, vector = (table[name].to_numpy() for name in ("image", "text", "vector"))
    np.testing.assert_array_equal(vector[10:-1], np.hstack([image, text])[10:-1])
    np.testing.assert_array_equal(vector[:10], np.hstack([text, text])[:10])
    np.testing.assert_array_equal(vector[-1:], np.hstack([image, image])[-1:])

    assert store.read("alignment.aligned_items_history", HERE)["metric"].to_list() == ["information"] * 3
    assert set(store.read("alignment.quality", HERE)["split"]) == {"train", "held_out"}
    heads = weights.from_table(store.read("alignment.heads", HERE))
    assert heads["image.1.weight"].shape == (4, 5)
    read = store.read("content.llm_embeddings", PLACE).filter(of="text")["vector"].to_numpy()
    np.testing.assert_allclose(heads["text.0.centre"], read.mean(axis=0), atol=1e-6, err_msg="titles are no texts")
    footer = store.footer("alignment.aligned_items", HERE)
    assert footer["n_items"] == str(N)
    assert footer["parameters"] == str(sum(array.size for array in heads.values()))
    assert '"width":4' in footer["settings"]
    assert "content.llm_embeddings" in footer["inputs"]

    other = store.read("alignment.aligned_items", HERE.with_seed(3))
    assert not np.allclose(other["vector"].to_numpy(), vector)
    (shown,) = [
        event.materialization.metadata
        for event in ran.get_asset_materialization_events()
        if event.materialization.asset_key.path[-1] == "aligned_items"
    ]
    assert {"curve (seed 3)", "held-out chance_recall@10 (seed 0)"} <= set(shown)
    widths = query(store, "select seed, len(vector) w, count(*) n from alignment.aligned_items group by all order by 1")
    assert widths.rows() == [("0", 8, N), ("3", 8, N)]


def test_it_takes_a_slot_of_the_gpu_pool_and_its_tags() -> None:
    assert aligned_items.op.pool == "gpu"
    assert aligned_items.op.tags["num_gpus"] == "1"


def test_a_swapped_picture_changes_the_vectors_of_both_items(store: ArtifactStore) -> None:
    assert make(store).success
    before = store.read("alignment.aligned_items", HERE)["vector"].to_numpy()
    vectors(store, swap=(20, 30))
    assert make(store).success
    after = store.read("alignment.aligned_items", HERE)["vector"].to_numpy()
    assert after[20, :4] @ before[30, :4] > after[20, :4] @ before[20, :4]
    assert after[30, :4] @ before[20, :4] > after[30, :4] @ before[30, :4]


def test_without_any_picture_the_texts_stand_alone_and_the_log_says_so(
    store: ArtifactStore, capfd: pytest.CaptureFixture
) -> None:
    vectors(store, pictured=slice(0, 0))
    assert make(store).success
    table = store.read("alignment.aligned_items", HERE)
    assert table["image"].null_count() == N
    assert np.isfinite(table["vector"].to_numpy()).all()
    assert store.read("alignment.quality", HERE).is_empty()
    assert "tiny has no picture" in capfd.readouterr().err


def test_vectors_of_another_catalogue_are_refused(store: ArtifactStore) -> None:
    catalogue(store, title="Another")
    ran = make(store)
    assert not ran.success
    assert "made of other data" in str(ran.failure_data_for_node("alignment__aligned_items"))
    assert not store.leaves("alignment.*", dataset="tiny")


def test_a_value_out_of_bounds_is_refused_before_any_work(store: ArtifactStore) -> None:
    ran = make(store, temperature=0.0)
    assert "aligned_items.temperature" in str(ran.failure_data_for_node("alignment__aligned_items"))


@pytest.mark.parametrize("changed", ["settings", "vectors"])
def test_what_was_begun_of_other_settings_or_vectors_is_swept_and_the_log_says_so(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, changed: str
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("weft.alignment.align.quality", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        assert not make(store).success
    (begun,) = {path.parent for path in store.work.rglob("*") if path.is_file()}
    epochs = {"epochs": 2} if changed == "settings" else {}
    if changed == "vectors":
        vectors(store, swap=(20, 30))
    with monkeypatch.context() as broken:
        broken.setattr("weft.alignment.align.quality", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        assert not make(store, **epochs).success
    (left,) = {path.parent for path in store.work.rglob("*") if path.is_file()}
    assert left != begun
    assert "starting over" in capfd.readouterr().err
    assert make(store, **epochs).success
    assert not [path for path in store.work.rglob("*") if path.is_file()]


def test_what_was_begun_is_forgotten_once_it_is_committed_and_an_equal_run_gives_equal_leaves(
    store: ArtifactStore,
) -> None:
    assert make(store).success
    assert not [path for path in store.work.rglob("*") if path.is_file()]
    digests = [store.digest(f"alignment.{name}", HERE) for name in LEAVES]
    assert make(store).success
    assert [store.digest(f"alignment.{name}", HERE) for name in LEAVES] == digests
