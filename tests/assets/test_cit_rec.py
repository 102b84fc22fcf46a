"""CIT-Rec through its assets: every variant on planted vectors and a tiny model of random weights."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import AutoModelForCausalLM

from assets import cit_rec, cit_rec_stages
from assets.cit_rec_material import vectors_of
from assets.partitions import DATASETS
from pipelines.definitions import default_resources
from resources import maintenance
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from resources.language_model import LanguageModel
from tests.language.conftest import tiny_folder
from tests.pipelines.running import make as ingest
from weft.cells import Cell
from weft.data import registry
from weft.evaluation.metrics import auc
from weft.language.engine import Answer, Identity, Message, Prompt, Sampling
from weft.progress import NoProgress
from weft.systems.registry import SYSTEMS
from weft.training import loop

VARIANTS = tuple(SYSTEMS["cit_rec"].variants)
TUNED = ("full", "without_user", "without_image", "without_text_title", "text_only")
FULL = Cell("tiny", "pointwise_time", "offline", "full", 0)
STATES, ALIGNED, TEXTS = (
    replace(FULL, variant=None),
    Cell("tiny", profile="offline", seed=0),
    Cell("tiny", None, "offline"),
)
PROMPTS = {"rows": 300, "history": 1}
QUICK = {"epochs": 3, "batch": 8, "rank": 4, "learning_rate": 0.01, "patience": 0}


def plant(storage: Path, *, of: str = "today") -> None:
    """Splits in which everybody likes the even items, and vectors of which the items' alone tell."""
    registry.register_built_in(str(storage))
    registry.save(
        str(storage), registry.specify(str(storage), "tiny", format="storefront", settings={"preset": "tiny"})
    )
    assert ingest(storage, protocols=["pointwise_time"]).success
    store = ArtifactStore(storage)
    splits = store.read("interactions.splits", FULL.of_protocol())
    store.write("interactions.splits", FULL.of_protocol(), splits.with_columns(label=pl.col("item") % 2 == 0))
    write_vectors(store)


def write_vectors(store: ArtifactStore) -> None:
    """States of the later half of the training rows and of all held-out rows; vectors that name an item's parity."""
    rng = np.random.default_rng(0)
    splits = store.read("interactions.splits", FULL.of_protocol())
    items = store.read("interactions.items", FULL.of_dataset()).sort("item")
    later = pl.col("timestamp") >= splits.filter(split="train")["timestamp"].median()
    states = splits.filter((pl.col("split") == "train") & later | pl.col("target")).select("row", "split", "user")
    made_from = read(store, "interactions.splits", FULL.of_protocol())
    store.write(
        "behaviour.user_states", STATES, states.with_columns(vector=column(rng.normal(size=(len(states), 6)))),
        provenance=made_from,
    )  # fmt: skip
    parity = np.where(items["item"].to_numpy() % 2, -1.0, 1.0)[:, None] * np.ones((1, 2))
    image, text = rng.normal(size=(len(items), 2)) * 0.1 + parity, rng.normal(size=(len(items), 2))
    told = {"item": items["item"], "image": column(image), "text": column(text)}
    made_from = read(store, "interactions.items", FULL.of_dataset())
    aligned = pl.DataFrame({**told, "vector": column(np.concatenate([image, text], axis=1))})
    store.write("alignment.aligned_items", ALIGNED, aligned, provenance=made_from)
    plain = pl.DataFrame({"item": items["item"], "of": ["text"] * len(items), "vector": column(text)})
    plain = plain.with_columns(pl.col("of").cast(pl.Enum(["title", "text", "enriched"])))
    store.write("content.llm_embeddings", TEXTS, plain, provenance=made_from)


def column(vectors: NDArray) -> pl.Series:
    return pl.Series(vectors.astype(np.float32), dtype=pl.Array(pl.Float32, vectors.shape[1]))


def read(store: ArtifactStore, asset: str, cell: Cell) -> dict[str, Any]:
    """Provenance of what is made of one leaf."""
    return {"inputs": [(asset, cell.path, store.digest(asset, cell))]}


def run(
    storage: Path, model: Path, variants: Sequence[str], *, assets: Sequence[Any] = (), **settings: Any
) -> dg.ExecuteInProcessResult:
    source = DataSource(base=str(storage))
    resources = {
        **default_resources(str(storage)),
        "cells": Cells(data_source=source, variants=list(variants), protocols=["pointwise_time"]),
        "accelerator": Accelerator(device="cpu"),
        "language_model": LanguageModel(name=str(model)),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, ["tiny"])
        return dg.materialize(
            list(assets or (cit_rec.prompts, cit_rec.adapter, cit_rec.scored_pairs)),
            resources=resources,
            partition_key="tiny",
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {
                    name: {"config": config}
                    for name, config in (("cit_rec__prompts", PROMPTS), ("cit_rec__adapter", {**QUICK, **settings}))
                    if not assets or name in {asset.op.name for asset in assets}
                },
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model") / "tiny-llama", "llama")


@pytest.fixture(scope="module")
def storage(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage in which every variant has been made."""
    storage = tmp_path_factory.mktemp("cit_rec") / "storage"
    plant(storage)
    assert run(storage, model, VARIANTS).success
    return storage


def values(store: ArtifactStore, asset: str) -> set[str | None]:
    return {leaf.cell.variant for leaf in store.leaves(f"cit_rec.{asset}")}


def auc_of(table: pl.DataFrame) -> float:
    test = table.filter(split="test")
    return float(auc(test["label"].to_numpy(), test["score"].cast(pl.Float64).to_numpy())[0])


def test_every_variant_keeps_what_it_fits_and_scores_every_held_out_row(storage: Path) -> None:
    store = ArtifactStore(storage)
    assert values(store, "prompts") == values(store, "scored_pairs") == set(VARIANTS)
    assert values(store, "adapter") == set(TUNED)
    assert values(store, "projections") == {*TUNED, "plain_network"} - {"text_only"}
    assert values(store, "adapter_history") == {*TUNED, "plain_network"}
    held = store.read("interactions.splits", FULL.of_protocol()).filter("target").sort("row")
    for variant in VARIANTS:
        table = store.read("cit_rec.scored_pairs", replace(FULL, variant=variant)).sort("row")
        assert table.select("row", "user", "item", "label").equals(held.select("row", "user", "item", "label"))
        assert table["score"].is_finite().all()
        assert set(table["system"]) == {"cit_rec"}
        footer = store.footer("cit_rec.scored_pairs", replace(FULL, variant=variant))
        assert float(footer["seconds_score"]) >= 0
        assert (int(footer["parameters"]) > 0) == (variant != "zero_shot")
        assert bool(footer["language_model"]) == (variant != "plain_network")
    assert set(store.read("cit_rec.scored_pairs", replace(FULL, variant="zero_shot"))["score"]) <= {0.0, 0.5, 1.0}


@pytest.mark.parametrize("variant", ["without_text_title", "plain_network"])
def test_what_stands_in_the_items_vectors_is_learnt(variant: str, storage: Path) -> None:
    assert auc_of(ArtifactStore(storage).read("cit_rec.scored_pairs", replace(FULL, variant=variant))) > 0.9


def test_without_image_reads_vectors_in_which_no_picture_had_a_part(storage: Path) -> None:
    store = ArtifactStore(storage)
    for variant, asset, cell in (
        ("full", "alignment.aligned_items", ALIGNED),
        ("without_image", "content.llm_embeddings", TEXTS),
    ):
        vectors, digests = vectors_of(store, replace(FULL, variant=variant))
        given = store.read(asset, cell).sort("item")["vector"].to_numpy()
        expected = (given - given.mean(axis=0)) / given.std(axis=0)
        np.testing.assert_allclose(vectors.item[1:], expected, atol=1e-4)
        assert digests == [store.digest("behaviour.user_states", STATES), store.digest(asset, cell)]


def test_all_variants_learn_from_the_same_rows(storage: Path) -> None:
    store = ArtifactStore(storage)
    rows = [store.read("cit_rec.prompts", replace(FULL, variant=v)).select("row", "split", "label") for v in VARIANTS]
    assert all(rows[0].equals(other) for other in rows)
    assert len(rows[0].filter(split="train")) == 300
    stated = store.read("behaviour.user_states", STATES)["row"]
    assert rows[0]["row"].is_in(stated.implode()).all()


def test_what_is_kept_scores_the_same_again(storage: Path, model: Path) -> None:
    store = ArtifactStore(storage)
    cells = Cells(data_source=DataSource(base=str(storage)), protocols=["pointwise_time"])
    opener = LanguageModel(name=str(model))
    scorer = cit_rec_stages.Scorer(store, cells, opener, Accelerator(device="cpu"), NoProgress())
    again, _ = scorer.score(FULL)
    assert again.equals(store.read("cit_rec.scored_pairs", FULL).select(again.columns))


def test_an_exported_adapter_loads_with_plain_peft_and_says_what_it_said(
    storage: Path, model: Path, tmp_path: Path
) -> None:
    store = ArtifactStore(storage)
    cell = replace(FULL, variant="text_only")
    (leaf,) = maintenance.select(store, "cit_rec.adapter", variant="text_only")
    folder = maintenance.export(store, leaf, tmp_path)
    assert str(storage) not in (folder / "adapter_config.json").read_text()
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), str(folder)).eval()
    ours = LanguageModel(name=str(model)).adapted(
        store, Cells(data_source=DataSource(base=str(storage))).models(), "cit_rec", "cpu"
    )
    table = store.read("cit_rec.prompts", cell).filter(split="test").head(5)
    scores = store.read("cit_rec.scored_pairs", cell).filter(split="test").head(5)["score"].to_numpy()
    told = []
    for prompt in table["messages"].to_list():
        with torch.inference_mode():
            each = plain(torch.tensor([ours.final(prompt)])).logits[0, -1].double().log_softmax(-1)
        # Both wordings begin with a token of their own, and are that token alone.
        said = [[ours.tokens.answer(text) for text in choice] for choice in (("Yes", " Yes"), ("No", " No"))]
        assert all(len(wording) == 1 for choice in said for wording in choice)
        yes, no = (torch.logsumexp(each[[wording[0] for wording in choice]], 0) for choice in said)
        told.append((yes - no).item())
    np.testing.assert_allclose(told, scores, atol=1e-3)


def test_a_fit_that_was_cut_off_goes_on_to_the_same_adapter(
    storage: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(storage)
    unbroken = {name: store.read(f"cit_rec.{name}", FULL) for name in ("adapter", "projections", "adapter_history")}
    whole, epochs = loop._train_epoch, []

    def cut_off(*given: Any) -> tuple[float, float]:
        epochs.append(given[4])
        if len(epochs) == 2:
            raise OSError("the power went off")
        return whole(*given)

    for name in unbroken:
        store.path(f"cit_rec.{name}", FULL).unlink()
    with monkeypatch.context() as broken:
        broken.setattr(loop, "_train_epoch", cut_off)
        assert not run(storage, model, ["full"], assets=[cit_rec.adapter]).success
        assert run(storage, model, ["full"], assets=[cit_rec.adapter]).success
    assert epochs == [0, 1, 1, 2], "what was done before stands"
    for name, table in unbroken.items():
        assert store.read(f"cit_rec.{name}", FULL).equals(table), name
    assert not list(store.work.glob("*/*")), "nothing is left of the work"
    assert run(storage, model, ["full"], assets=[cit_rec.scored_pairs]).success


@pytest.mark.parametrize("changed", ["interactions.items", "behaviour.user_states", "interactions.splits"])
def test_what_was_fitted_on_other_data_scores_nothing(
    changed: str, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    storage = tmp_path / "storage"
    shutil.copytree(request.getfixturevalue("storage"), storage)
    store = ArtifactStore(storage)
    cell = {"interactions.items": FULL.of_dataset(), "interactions.splits": FULL.of_protocol()}.get(changed, STATES)
    table = store.read(changed, cell)
    was_read = [tuple(one.values()) for one in json.loads(store.footer(changed, cell)["inputs"])]
    other = {
        "interactions.items": lambda: table.with_columns(title=pl.col("title").str.reverse()),
        "interactions.splits": lambda: table.with_columns(label=~pl.col("label")),
        "behaviour.user_states": lambda: table.with_columns(vector=column(table["vector"].to_numpy() + 1)),
    }[changed]()
    store.write(changed, cell, other, provenance={"inputs": was_read})
    failed = run(storage, model, ["full"], assets=[cit_rec.scored_pairs])
    assert not failed.success
    told = str(failed.failure_data_for_node("cit_rec__scored_pairs"))
    assert "other data" in told
    assert "--variants full --seeds 0 --systems content,cit_rec" in told


class Mute:
    """A language model that nobody can reach."""

    identity = Identity("mute")

    def final(self, prompt: Prompt) -> list[Message]:
        return list(prompt)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Answer]]:
        del sampling
        return ((place, Answer("", "failed", 0, 0, 0.0, "no route")) for place in range(len(prompts)))


def test_scores_of_a_model_that_never_answered_are_not_kept(
    storage: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(shutil.copytree(storage, tmp_path / "storage"))
    cell = replace(FULL, variant="zero_shot")
    told = store.footer("cit_rec.scored_pairs", cell)
    assert 0 <= int(told["unread"]) <= int(told["questions"])
    before = store.digest("cit_rec.scored_pairs", cell)
    monkeypatch.setattr(LanguageModel, "writer", lambda *_: Mute())
    failed = run(tmp_path / "storage", model, ["zero_shot"], assets=[cit_rec.scored_pairs])
    assert "mute answered none of" in str(failed.failure_data_for_node("cit_rec__scored_pairs"))
    assert store.digest("cit_rec.scored_pairs", cell) == before


def test_an_adapter_and_projections_of_two_fits_score_nothing(storage: Path, model: Path, tmp_path: Path) -> None:
    """As a run leaves them that is killed between the two."""
    store = ArtifactStore(shutil.copytree(storage, tmp_path / "storage"))
    old = store.read("cit_rec.adapter", FULL)
    inputs = [tuple(one.values()) for one in json.loads(store.footer("cit_rec.adapter", FULL)["inputs"])]
    told = ("settings", "prompt_settings", "config_digest", "seconds_fit", "parameters", "language_model")
    footer = {name: store.footer("cit_rec.adapter", FULL)[name] for name in told}
    assert run(tmp_path / "storage", model, ["full"], assets=[cit_rec.adapter], epochs=1).success
    store.write("cit_rec.adapter", FULL, old, provenance={"inputs": inputs}, attributes=footer)
    failed = run(tmp_path / "storage", model, ["full"], assets=[cit_rec.scored_pairs])
    assert not failed.success
    assert "of two fits" in str(failed.failure_data_for_node("cit_rec__scored_pairs"))
