"""What CIT-Rec's vectors hold on the storefront: neighbours kept by the alignment, and what a state says of a label.

python -m benchmarks.cit_rec_vectors --storage storage

The storage holds the storefront's contents and its splits of pointwise_time (weft run --systems content,popularity
--protocols pointwise_time). kNN@10 is the share of an item's ten nearest others with its own value. AUC is that of a
two-layer network on the validation split, the best of its epochs: it compares vectors and is no result. The test split
has no part in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.house_vision import near_alike
from benchmarks.machine import save
from resources.artifacts import ArtifactStore
from weft.alignment.align import Aligned, align
from weft.alignment.settings import AlignmentSettings
from weft.cells import Cell
from weft.data.storefront_truth import planted_attributes
from weft.evaluation.metrics import auc
from weft.evaluation.protocols import protocol
from weft.models.next_liked import NextLiked
from weft.models.user_states import UserStatesSettings, user_states, without_later
from weft.training.runtime import Runtime

Floats = NDArray[np.float32]

SHOP, PLACE = Cell("storefront"), Cell("storefront", profile="offline")
RULE = protocol("pointwise_time")
SHARES = (0.4, 0.5, 0.6)
EPOCHS, WIDTH, SEEDS = 14, 128, (0, 1)


def neighbours(store: ArtifactStore, image: Floats, text: Floats, aligned: Aligned) -> dict[str, float]:
    """kNN@10 of what only pictures show (style) and only texts or knowledge say (theme, mood)."""
    truth = planted_attributes(store.read("interactions.truth", SHOP))
    items = store.read("interactions.items", SHOP).sort("item").select("item_id")
    items = items.join(truth, on="item_id", how="left", maintain_order="left")
    found = {}
    for kind, given, made, signals in (
        ("image", image, aligned.image, ["style"]),
        ("text", text, aligned.text, ["theme", "mood"]),
    ):
        unit = given / np.linalg.norm(given, axis=1, keepdims=True)
        for signal in signals:
            values = items[signal].to_numpy()
            found[f"{signal} in {kind} vectors"] = near_alike(unit, values)
            found[f"{signal} in aligned {kind}s"] = near_alike(made, values)
    return found


def probed(states: pl.DataFrame, splits: pl.DataFrame, vectors: Floats, seed: int) -> float:
    """Best validation AUC of a two-layer network on a row's ``vector`` beside its item's."""
    rows = states.join(splits.select("row", "item", "label"), on="row", maintain_order="left")
    state, label = rows["vector"].to_numpy(), rows["label"].to_numpy()
    train, held = ((rows["split"] == part).to_numpy() for part in ("train", "validation"))
    state = (state - state[train].mean(0)) / (state[train].std(0) + 1e-6)
    item = vectors[rows["item"].to_numpy()] * (vectors.shape[1] / 2) ** 0.5  # columns as large as those of the state
    inputs = torch.from_numpy(np.concatenate([state, item], axis=1).astype(np.float32))
    wanted = torch.from_numpy(label.astype(np.float32))[torch.from_numpy(train)]
    known, asked = inputs[torch.from_numpy(train)], inputs[torch.from_numpy(held)]
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(inputs.shape[1], WIDTH), nn.GELU(), nn.Dropout(0.2), nn.Linear(WIDTH, 1))
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    best = 0.0
    for _ in range(EPOCHS):
        network.train()
        for index in torch.randperm(len(known)).split(256):
            loss = nn.functional.binary_cross_entropy_with_logits(network(known[index])[:, 0], wanted[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()
        with torch.inference_mode():
            best = max(best, float(auc(label[held], network(asked)[:, 0].double().numpy())[0]))
    return best


def content_profile(states: pl.DataFrame, splits: pl.DataFrame, vectors: Floats) -> pl.DataFrame:
    """In the place of states: the mean vector of what was liked before the row, and of what was disliked."""
    rows = splits.filter(pl.col("split") != "unused").sort("user", "timestamp", "row")
    user, label, item = rows["user"].to_numpy(), rows["label"].to_numpy(), vectors[rows["item"].to_numpy()]
    first = np.searchsorted(user, user)
    means = []
    for wanted in (label, ~label):
        sums = np.concatenate([np.zeros((1, item.shape[1])), np.cumsum(item * wanted[:, None], axis=0)])
        counts = np.concatenate([[0], np.cumsum(wanted)])
        here = np.arange(len(rows))
        means.append((sums[here] - sums[first]) / np.maximum(counts[here] - counts[first], 1)[:, None])
    found = np.concatenate(means, axis=1).astype(np.float32)
    profile = rows.select("row", vector=pl.Series(found, dtype=pl.Array(pl.Float32, found.shape[1])))
    return states.drop("vector").join(profile, on="row", maintain_order="left")


def states_of(splits: pl.DataFrame, sizes: tuple[int, int], share: float, *, leaks: bool = False) -> pl.DataFrame:
    """The states of seed 0; with ``leaks`` by a network that was fitted on the very rows that get them."""
    model, seen = NextLiked(UserStatesSettings(share=share)), splits if leaks else without_later(splits, share)
    validation = RULE.task(seen, "validation", sizes[1])
    model.fit(RULE.events(seen, *sizes), validation, Runtime(device="cpu", threads=1))
    return user_states(model, RULE, splits, sizes[1], share)


def main() -> None:
    """Measures and keeps the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", required=True)
    store = ArtifactStore(str(Path(parser.parse_args().storage)))
    torch.set_num_threads(1)
    image = store.read("content.image_embeddings", PLACE).sort("item")["vector"].to_numpy()
    text = store.read("content.llm_embeddings", PLACE).filter(of="text").sort("item")["vector"].to_numpy()
    everywhere = np.ones(len(text), np.bool_)
    aligned = align(image, text, everywhere, everywhere, AlignmentSettings(), Runtime(device="cpu", threads=1))
    result: dict[str, Any] = {"knn@10": neighbours(store, image, text, aligned)}
    result["held_out"] = dict(aligned.quality.filter(split="held_out").select("metric", "value").iter_rows())
    print(result, flush=True)

    splits = store.read("interactions.splits", Cell("storefront", "pointwise_time"))
    sizes = store.read("interactions.users", SHOP).height, len(text)
    items = np.concatenate([np.zeros((1, aligned.vector.shape[1]), np.float32), aligned.vector])
    found = {f"states, share {share}": states_of(splits, sizes, share) for share in SHARES}
    base = found["states, share 0.5"]
    found["states that leak"] = states_of(splits, sizes, 0.5, leaks=True)
    found["means of liked and disliked items"] = content_profile(base, splits, items)
    constant = pl.Series(np.zeros((len(base), 1), np.float32), dtype=pl.Array(pl.Float32, 1))
    found["the item alone"] = base.with_columns(vector=constant)
    result["validation_auc"] = {}
    for name, states in found.items():
        values = [round(probed(states, splits, items, seed), 4) for seed in SEEDS]
        result["validation_auc"][name] = values
        print(name, values, flush=True)
    print(f"kept in {save('cit_rec_vectors', result)}")


if __name__ == "__main__":
    main()
