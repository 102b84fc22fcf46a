"""CIT-Rec where one item is the answer and nineteen are not: through its assets to the reports, on a tiny shop."""

import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.partitions import DATASETS
from pipelines import jobs
from pipelines.definitions import build_defs
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.language_model import LanguageModel
from tests.assets.test_cit_rec import column, read
from tests.language.conftest import tiny_folder
from tests.pipelines.running import make as ingest
from weft.cells import Cell
from weft.data import registry
from weft.evaluation.metrics import mid_ranks
from weft.evaluation.protocols import PROTOCOLS, Sampled

FULL = Cell("tiny", "paper_candidates_20", "offline", "full", 0)
VARIANTS = ("full", "text_only", "zero_shot", "plain_network")
HISTORY = 3
OPS = {
    "behaviour__user_states": {"config": {"epochs": 1, "width": 8, "blocks": 1}},
    "cit_rec__prompts": {"config": {"rows": 300, "history": HISTORY}},
    "cit_rec__adapter": {"config": {"epochs": 2, "batch": 16, "rank": 2, "learning_rate": 0.01}},
}
JUDGED = (
    jobs.of_systems("cit_rec") | dg.AssetSelection.assets(["behaviour", "user_states"]).required_multi_asset_neighbors()
)


def plant(storage: Path) -> None:
    """A shop that sells mostly even items, and vectors that tell an even item from an odd one."""
    registry.register_built_in(str(storage))
    registry.save(
        str(storage), registry.specify(str(storage), "tiny", format="storefront", settings={"preset": "tiny"})
    )
    assert ingest(storage, protocols=[str(FULL.protocol)]).success
    store, rng = ArtifactStore(storage), np.random.default_rng(0)
    splits = store.read("interactions.splits", FULL.of_protocol())
    items = store.read("interactions.items", FULL.of_dataset()).sort("item")
    odd = (splits["item"].to_numpy() % 2 == 1) & (rng.random(len(splits)) < 0.9)
    splits = splits.with_columns((pl.col("item") + pl.Series(odd).cast(pl.Int32)).clip(1, len(items)))
    rule = PROTOCOLS[str(FULL.protocol)]
    assert isinstance(rule, Sampled)
    store.write("interactions.splits", FULL.of_protocol(), splits)
    store.write("interactions.negatives", FULL.of_protocol(), rule.negatives(splits, items))
    parity = np.where(items["item"].to_numpy() % 2, -1.0, 1.0)[:, None]
    vectors = column(np.concatenate([parity, rng.normal(size=(len(items), 3))], axis=1))
    aligned = pl.DataFrame({"item": items["item"], "image": vectors, "text": vectors, "vector": vectors})
    made_from = read(store, "interactions.items", FULL.of_dataset())
    store.write("alignment.aligned_items", Cell("tiny", profile="offline", seed=0), aligned, provenance=made_from)


def run(storage: Path, model: Path, selection: dg.AssetSelection, variants: tuple[str, ...]) -> None:
    resources = {"language_model": LanguageModel(name=str(model)), "accelerator": Accelerator(device="cpu")}
    defs = build_defs(base=str(storage), resources=resources, executor=dg.in_process_executor)
    job = defs.resolve_job_def("all_systems")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, ["tiny"])
        ran = job.execute_in_process(
            instance=instance,
            partition_key="tiny",
            asset_selection=sorted(selection.resolve(job.asset_layer.asset_graph)),
            run_config={
                "ops": OPS,
                "resources": {"cells": {"config": {"protocols": [FULL.protocol], "variants": list(variants)}}},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
        )
    assert ran.success
    assert all(check.passed for check in ran.get_asset_check_evaluations())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model") / "tiny-llama", "llama")


@pytest.fixture(scope="module")
def storage(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("listwise") / "storage"
    plant(storage)
    run(storage, model, JUDGED | jobs.of_systems("popularity") | jobs.REPORTS, VARIANTS)
    return storage


def ranked(store: ArtifactStore, variant: str) -> pl.DataFrame:
    return store.read("cit_rec.rankings", replace(FULL, variant=variant)).sort("query")


def test_every_target_stands_among_what_was_drawn_for_it_in_every_variant(storage: Path) -> None:
    store = ArtifactStore(storage)
    splits = store.read("interactions.splits", FULL.of_protocol())
    drawn = dict(store.read("interactions.negatives", FULL.of_protocol()).select("query", "items").iter_rows())
    targets = dict(splits.filter("target").select("row", "item").iter_rows())
    for variant in VARIANTS:
        table = ranked(store, variant)
        assert dict(table.select("query", "target").iter_rows()) == targets
        for query, target, items, candidates in table.select("query", "target", "items", "candidates").iter_rows():
            assert sorted(items) == sorted([target, *drawn[query]])
            assert candidates == len(items)
        assert table["score"].null_count() == 0
    assert not store.leaves("cit_rec.scored_pairs")


def test_what_tells_true_items_from_drawn_ones_is_learnt(storage: Path) -> None:
    table = ranked(ArtifactStore(storage), "plain_network").filter(split="test")
    # Half of the drawn items are even, and nine in ten of the true ones: by parity alone the place is about 6.
    assert mid_ranks(table).mean() < 8


def test_reports_hold_the_hit_rate_at_one_beside_that_of_plain_models(storage: Path) -> None:
    store = ArtifactStore(storage)
    metrics = store.read("reports.metrics", FULL.of_dataset()).filter(split="test", slice="all", metric="hr", k=1)
    found = {(system, variant): value for system, variant, value in metrics.select("system", "variant", "value").rows()}
    assert set(found) == {("popularity", "full"), *(("cit_rec", variant) for variant in VARIANTS)}
    table = ranked(store, "full").filter(split="test")
    assert found["cit_rec", "full"] == pytest.approx(((table["better"] == 0) & (table["equal"] == 0)).mean())
    compared = store.read("reports.comparisons", FULL.of_dataset()).select("a", "b", "variant_a").unique().rows()
    assert ("cit_rec", "popularity", "full") in compared
    assert set(store.read("reports.ablations", FULL.of_dataset())["variant"]) == set(VARIANTS) - {"full"}


def test_a_history_is_what_the_session_held_before_and_never_the_target(storage: Path) -> None:
    store = ArtifactStore(storage)
    splits = store.read("interactions.splits", FULL.of_protocol())
    prompts = store.read("cit_rec.prompts", FULL)
    assert set(prompts["split"]) == {"train", "validation", "test"}
    order = ["train", "validation", "test"]
    by_row = {row["row"]: row for row in splits.filter(pl.col("split") != "unused").iter_rows(named=True)}
    for row, split, item, label, slots in prompts.select("row", "split", "item", "label", "slots").iter_rows():
        own = by_row[row]
        past = [
            other
            for other in by_row.values()
            if other["session"] == own["session"]
            and (other["timestamp"], other["row"]) < (own["timestamp"], own["row"])
            and order.index(other["split"]) <= order.index(split)
        ]
        past.sort(key=lambda other: (other["timestamp"], other["row"]))
        assert past
        assert slots == [0, *(other["item"] for other in past[-HISTORY:]), item]
        assert label == (item == own["item"])


def test_a_candidates_place_in_the_list_has_no_say(storage: Path, model: Path, tmp_path: Path) -> None:
    turned = ArtifactStore(shutil.copytree(storage, tmp_path / "storage"))
    drawn = turned.read("interactions.negatives", FULL.of_protocol())
    turned.write(
        "interactions.negatives", FULL.of_protocol(), drawn.with_columns(pl.col("items").list.reverse()).reverse()
    )
    run(tmp_path / "storage", model, jobs.of_systems("cit_rec"), ("full",))
    store = ArtifactStore(storage)
    asked = (each.read("cit_rec.prompts", FULL).filter(split="test")["item"].to_list() for each in (store, turned))
    assert next(asked) != next(asked)
    before, after = (ranked(each, "full") for each in (store, turned))
    assert before.drop("score", "scores").equals(after.drop("score", "scores"))
    np.testing.assert_allclose(before["score"], after["score"], atol=1e-5)
