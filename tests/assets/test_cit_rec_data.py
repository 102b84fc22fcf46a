"""CIT-Rec from files in the layouts of Book-Crossing and Amazon Beauty, with pictures, to its table: tiny and whole."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from assets.partitions import DATASETS
from benchmarks import shuffled_images
from benchmarks.judged_pairs import Shop
from pipelines import jobs, report
from pipelines.definitions import build_defs
from resources.artifacts import ArtifactStore
from tests.assets.making import TINY_HOUSE
from tests.data import dumps
from tests.data.dumps import Quirk
from weft.cells import Cell
from weft.data import registry

USERS, ITEMS, EACH = 60, 24, 14
VARIANTS = ("full", "without_image", "text_only", "plain_network")
OPS = TINY_HOUSE | {
    "behaviour__user_states": {"config": {"epochs": 1, "width": 8, "blocks": 1}},
    "alignment__aligned_items": {"config": {"epochs": 2}},
    "cit_rec__prompts": {"config": {"rows": 60, "history": 2}},
    "cit_rec__adapter": {"config": {"epochs": 1, "rank": 2}},
}


def taken() -> list[tuple[int, int, bool]]:
    """Who rated what, in order of time, and whether they liked it: every user likes one of three colours."""
    rng = np.random.default_rng(0)
    return [(u, int(k), bool(k % 3 == u % 3)) for u in range(USERS) for k in rng.permutation(ITEMS)[:EACH]]


def pictures(folder: Path, names: Callable[[int], str]) -> Path:
    """A plain picture per item in its colour; item 0 has none, and that of item 1 is broken."""
    folder.mkdir()
    for k in range(2, ITEMS):
        data = io.BytesIO()
        Image.new("RGB", (32, 48), ["red", "green", "blue"][k % 3]).save(data, "JPEG")
        (folder / f"{names(k)}.jpg").write_bytes(data.getvalue())
    (folder / f"{names(1)}.jpg").write_bytes(b"no picture")
    return folder


def run(storage: Path, dataset: str, protocols: list[str]) -> ArtifactStore:
    """The whole system in four variants, on house models that are trained in seconds."""
    job = build_defs(base=str(storage), executor=dg.in_process_executor).resolve_job_def("all_systems")
    selection = jobs.INGEST | jobs.with_inputs("cit_rec") | jobs.of_systems("popularity") | jobs.REPORTS
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, [dataset])
        ran = job.execute_in_process(
            instance=instance,
            partition_key=dataset,
            asset_selection=sorted(selection.resolve(job.asset_layer.asset_graph)),
            run_config={
                "ops": OPS,
                "resources": {"cells": {"config": {"protocols": protocols, "variants": list(VARIANTS)}}},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
        )
    assert ran.success
    return ArtifactStore(storage)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """Ratings of 1 to 10 without times, liked from 6 on, and 0 for what was taken without a rating."""
    folder = tmp_path_factory.mktemp("books")
    rows = [Quirk("", f'"{u}";"isbn{k}";"{8 if liked else 5}"', ()) for u, k, liked in taken()]
    rows += [Quirk("", f'"{u}";"isbn{u % ITEMS}";"0"', ()) for u in range(USERS)]
    urls = ";".join(['"http://images.amazon.com/images/P/1.01.LZZZZZZZ.jpg"'] * 3)
    shelf = [Quirk("", f'"isbn{k}";"Title {k}";"Author";"2000";"House";{urls}', ()) for k in range(ITEMS)]
    source = dumps.book_crossing(folder / "BX-CSV-Dump.zip", ratings=rows, books=shelf)
    covers = pictures(folder / "covers", lambda k: f"isbn{k}")
    spec = registry.specify(str(folder / "storage"), "book-crossing", source=source, images=covers)
    registry.save(str(folder / "storage"), spec)
    return run(folder / "storage", "book-crossing", [])


@pytest.fixture(scope="module")
def beauty(books: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """Reviews with times and stars, products with titles; the house models are those of the books."""
    folder = tmp_path_factory.mktemp("beauty")
    shutil.copytree(f"{books.base}/house", folder / "storage" / "house")
    rows = [
        Quirk("", dumps.review(reviewerID=f"A{u}", asin=f"B{k}", overall=5.0 if liked else 2.0,
                               unixReviewTime=1_400_000_000 + 86_400 * (place % EACH) + u), ())
        for place, (u, k, liked) in enumerate(taken())
    ]  # fmt: skip
    meta = [
        Quirk("", str({"asin": f"B{k}", "title": f"Soap {k}", "categories": [["Beauty"]]}), ()) for k in range(ITEMS)
    ]
    source = dumps.amazon(folder / "beauty", "reviews_Beauty_5.json.gz", "meta_Beauty.json.gz", rows, meta)
    covers = pictures(folder / "covers", lambda k: f"B{k}")
    spec = registry.specify(str(folder / "storage"), "amazon-beauty", source=source, images=covers)
    registry.save(str(folder / "storage"), spec)
    return run(folder / "storage", "amazon-beauty", ["pointwise_time"])


def test_books_are_judged_by_blocks_of_users_with_ratings_above_five_liked_and_zero_left_out(
    books: ArtifactStore,
) -> None:
    splits = books.read("interactions.splits", Cell("book-crossing", "paper_tallrec_blocks"))
    rated = splits.filter(pl.col("split") != "unused")
    assert len(rated) == USERS * EACH
    assert rated.select("rating", "label").unique().sort("rating").rows() == [(5.0, False), (8.0, True)]
    assert splits.filter(split="unused")["label"].null_count() == len(splits) - len(rated)
    blocks = rated.group_by("split").agg(users=pl.col("user").unique())
    assert dict(blocks.select("split", pl.col("users").list.len()).iter_rows()) == {
        "train": 48, "validation": 6, "test": 6,
    }  # fmt: skip
    assert blocks["users"].explode().n_unique() == USERS, "nobody is in two blocks"
    _whole(books, Cell("book-crossing", "paper_tallrec_blocks", "offline", "full", 0), splits)


def test_beauty_is_judged_past_against_future(beauty: ArtifactStore) -> None:
    splits = beauty.read("interactions.splits", Cell("amazon-beauty", "pointwise_time"))
    assert splits["label"].to_list() == (splits["rating"] >= 4).to_list()
    _whole(beauty, Cell("amazon-beauty", "pointwise_time", "offline", "full", 0), splits)


def test_wrong_pictures_move_the_scores_of_the_fitted_system_and_right_ones_give_them_back(
    books: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(Path(str(books.base)), "book-crossing", "paper_tallrec_blocks", 0)
    kept = shop.scored()["cit_rec"]
    wrong = shuffled_images.scored_with_shuffled_images(shop)
    assert wrong.drop("score").equals(kept.drop("score"))
    # Three colours for all items: only prompts that hold an item of another colour now can be judged otherwise.
    aligned = books.read("alignment.aligned_items", Cell("book-crossing", profile="offline", seed=0))
    other = ~np.isclose(shuffled_images.shuffled(aligned, 0), aligned["vector"].to_numpy()).all(axis=1)
    changed = set(aligned["item"].filter(pl.Series(other)))
    asked = books.read("cit_rec.prompts", shop.cell()).filter(split="test").sort("row")
    touched = np.array([not changed.isdisjoint(slots) for slots in asked["slots"].to_list()])
    moved = ~np.isclose(wrong["score"], kept["score"], atol=1e-5)
    assert 0 < touched.sum() < len(touched)
    assert np.array_equal(moved, touched)
    monkeypatch.setattr(shuffled_images, "shuffled", lambda aligned, seed: aligned["vector"].to_numpy())
    right = shuffled_images.scored_with_shuffled_images(shop)
    assert np.allclose(right["score"], kept["score"], atol=1e-5)


def _whole(store: ArtifactStore, cell: Cell, splits: pl.DataFrame) -> None:
    """Every held-out row is asked about once and scored in every variant; pictures and reports are there."""
    held = splits.filter("target").select("row", "user", "item", "label").sort("row")
    for variant in VARIANTS:
        of = Cell(cell.dataset, cell.protocol, cell.profile, variant, cell.seed)
        scored = store.read("cit_rec.scored_pairs", of).sort("row")
        assert scored.select("row", "user", "item", "label").equals(held)
        assert scored["score"].is_finite().all()
        prompts = store.read("cit_rec.prompts", of)
        assert set(prompts.filter(pl.col("split") != "train")["row"]) == set(held["row"])
        assert prompts.filter(split="train")["row"].is_in(splits.filter(split="train")["row"].implode()).all()

    items = store.read("interactions.items", cell.of_dataset())
    assert items["has_image"].sum() == ITEMS - 2
    aligned = store.read("alignment.aligned_items", Cell(cell.dataset, profile=cell.profile, seed=cell.seed))
    unseen = aligned.join(items.filter(~pl.col("has_image")), on="item", how="semi")
    assert len(unseen) == 2
    assert unseen["image"].null_count() == 2
    both = unseen["vector"].to_numpy()
    width = both.shape[1] // 2
    assert np.array_equal(both[:, :width], both[:, width:]), "the text stands in both places"

    data = cell.of_dataset()
    ablations = store.read("reports.ablations", data).filter(slice="all")
    assert set(ablations["variant"]) == set(VARIANTS) - {"full"}
    assert ablations["protocol"].unique().to_list() == [cell.protocol]
    board = store.read("reports.leaderboard", data).filter(protocol=cell.protocol)
    assert {("cit_rec", variant) for variant in VARIANTS} <= set(board.select("system", "variant").iter_rows())
    assert board["metric"].unique().to_list() == ["auc"]
    cost = store.read("reports.cost", data).filter(system="cit_rec")
    assert dict(cost.select("variant", "language_model").iter_rows()) == {
        "full": True, "without_image": True, "text_only": True, "plain_network": False,
    }  # fmt: skip
    assert (cost["ms_per_query"] > 0).all()
    page = report.gather(store, cell.dataset)
    assert page.case is not None
    assert page.case.protocol == cell.protocol
    assert any(
        tile.jpeg for tile in [*page.case.recommended, *page.case.refused, *page.case.liked, *page.case.disliked]
    )
