"""A fitted CIT-Rec that is shown wrong pictures: every item has the aligned picture vector of another one.

Nothing is fitted again: adapter, maps, texts and users stay as they are, so that what is lost is what the item tokens
take from pictures.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.judged_pairs import Shop, name_of
from resources import model_folders, weights
from resources.artifacts import ArtifactStore
from resources.language_model import LanguageModel
from resources.profiles import load
from weft.cells import Cell
from weft.systems import cit_rec
from weft.systems.cit_rec import Vectors
from weft.tuning.soft_tokens import SoftTokens

SHUFFLED = name_of("cit_rec", "shuffled_images")


def shuffled(aligned: pl.DataFrame, seed: int) -> NDArray[np.float32]:
    """Item vectors float32 [n, 2 d_c] whose picture half is that of another item; items without a picture stay.

    Args:
        aligned: ``alignment.aligned_items``, fused by concatenation.
        seed: Of the order: a cycle through all items with a picture, so that none keeps its own.

    Raises:
        ValueError: If the vectors are not made of two halves.
    """
    vectors = aligned["vector"].to_numpy().copy()
    pictured = np.flatnonzero(aligned["image"].is_not_null().to_numpy())
    pictures = aligned["image"].gather(pictured).to_numpy()
    width = pictures.shape[1]
    if not np.array_equal(vectors[pictured, :width], pictures):
        raise ValueError("the first half of an item vector is not its picture: fuse by concatenation")
    order = np.random.default_rng(seed).permutation(len(pictured))
    vectors[pictured[order], :width] = pictures[np.roll(order, 1)]
    return vectors


def scored_with_shuffled_images(shop: Shop) -> pl.DataFrame:
    """The test rows of the full system, scored with wrong pictures (schema ``ScoredPairs``)."""
    store, cell = ArtifactStore(shop.storage), shop.cell()
    aligned = store.read("alignment.aligned_items", Cell(shop.dataset, profile=shop.profile, seed=shop.seed))
    wrong = aligned.with_columns(vector=pl.Series(shuffled(aligned, shop.seed), dtype=aligned.schema["vector"]))
    states = store.read("behaviour.user_states", Cell(shop.dataset, shop.protocol, shop.profile, seed=shop.seed))
    vectors = Vectors.of(states, wrong, len(aligned))
    folder, _ = model_folders.opened(store, "cit_rec.adapter", cell)
    model = LanguageModel().adapted(store, load(shop.profile), "cit_rec", "cpu", folder)
    tensors = weights.from_table(store.read("cit_rec.projections", cell))
    tokens = SoftTokens.load(vectors.tables, model.width, tensors)
    prompts = store.read("cit_rec.prompts", cell).filter(split="test").sort("row")
    scores = cit_rec.score(model, prompts, vectors, tokens)
    of_rows = prompts.select("row").with_columns(score=pl.Series(scores, dtype=pl.Float32))
    table = store.read("cit_rec.scored_pairs", cell).filter(split="test").sort("row")
    return table.drop("score").join(of_rows, on="row", how="left", maintain_order="left").select(table.columns)
