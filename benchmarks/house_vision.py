"""What the house image-text model sees: styles of covers and themes of texts in the storefront, MovieLens-1M posters.

python -m benchmarks.house_vision --seeds 101 102 103
python -m benchmarks.house_vision --seeds 101 --source ml-1m.zip --posters ml-1m-posters.zip

kNN@10 is the share of an item's ten nearest others (cosine) that have its own value. Beside the model stand one that
learnt from the shop's pairs alone, and one that learnt nothing: what a random network sees is not the training's merit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.machine import save
from weft.data.archives import open_archive
from weft.data.formats.movielens import MovieLens
from weft.data.images import Pictures
from weft.data.storefront import StorefrontSettings, simulate
from weft.data.storefront_truth import planted_attributes
from weft.training.runtime import Runtime
from weft.vision.encoder import ImageTextEncoder
from weft.vision.house import train
from weft.vision.settings import HouseVisionSettings

NEAR = 10
STYLE, THEME, POSTERS = 0.75, 4 / 12, 5.0
"""Bounds: kNN of styles, kNN of themes, recall@10 of posters over chance."""

UNTRAINED = HouseVisionSettings(drawings=20, epochs=1, learning_rate=1e-12)


def near_alike(vectors: NDArray[np.float32], values: NDArray[np.int64]) -> float:
    """kNN@10: share of the ten nearest other rows with the same value."""
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    top = np.argpartition(-near, NEAR, axis=1)[:, :NEAR]
    return float((values[top] == values[:, None]).mean())


def recall(queries: NDArray[np.float32], answers: NDArray[np.float32], near: int) -> float:
    """Share of queries whose own answer (same row) is among the ``near`` best; ties count against it."""
    scores = queries @ answers.T
    own = scores.diagonal()[:, None].copy()
    np.fill_diagonal(scores, -np.inf)
    return float(((scores >= own).sum(axis=1) < near).mean())


def trained(
    settings: HouseVisionSettings, seed: int, catalogue: Sequence[tuple[bytes, str]] = ()
) -> tuple[ImageTextEncoder, pl.DataFrame, dict[str, float]]:
    """A house model of this seed on one thread, its history, and what it cost."""
    runtime = Runtime(device="cpu", threads=1, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        history = train(Path(folder), settings, runtime, catalogue)
        cost = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
        return ImageTextEncoder(folder, runtime=runtime), history, cost


def storefront(seed: int) -> dict[str, Any]:
    """Figures of one seed of simulator, world and training."""
    shop = simulate(StorefrontSettings(seed=seed, world=seed))
    items = shop.raw_items.join(planted_attributes(shop.truth), on="item_id").join(shop.raw_images, on="image")
    texts = items.select(pl.format("{}. {}", "title", "description")).to_series().to_list()
    covers = items["jpeg"].to_list()
    own = list(zip(covers, texts, strict=True))
    result: dict[str, Any] = {"items": len(items)}
    for name, settings, catalogue in (
        ("drawings", HouseVisionSettings(), ()),
        ("catalogue alone", HouseVisionSettings(drawings=0), own),
        ("untrained", UNTRAINED, ()),
    ):
        encoder, _, cost = trained(settings, seed, catalogue)
        images, seen = encoder.images(covers)
        words, chunks = encoder.texts(texts)
        result[name] = {
            "style": round(near_alike(images[seen], items["style"].to_numpy()[seen]), 4),
            "theme": round(near_alike(words, items["theme"].to_numpy()), 4),
            "chunks": round(float(chunks.mean()), 2),
            **cost,
        }
        print(seed, name, result[name], flush=True)
    return result


def posters(source: Path, pictures: Path, seed: int, settings: HouseVisionSettings) -> dict[str, Any]:
    """Held-out films by their posters: a tenth of all, drawn by ``seed``."""
    films = MovieLens.find(open_archive(source)).items()
    films = films.select("item_id", text=pl.concat_str("title", pl.col("genres").list.join(", "), separator=". "))
    archive = Pictures.open(pictures)
    shown = archive.decode(films["item_id"].to_list(), 128).drop_nulls("jpeg")
    pairs = shown.join(films, left_on="image", right_on="item_id", maintain_order="left").select("jpeg", "text")
    order = np.random.default_rng(seed).permutation(len(pairs))
    held_out, rest = pairs[order[: len(pairs) // 10]], pairs[order[len(pairs) // 10 :]]
    encoder, history, cost = trained(settings, seed, list(rest.iter_rows()))
    images, _ = encoder.images(held_out["jpeg"].to_list())
    texts, _ = encoder.texts(held_out["text"].to_list())
    figures = {f"recall@{near}": round(recall(images, texts, near), 4) for near in (1, 10)}
    chance = NEAR / len(held_out)
    result = {
        "pairs": len(rest),
        "held_out": len(held_out),
        **figures,
        "chance@10": round(chance, 4),
        "times_chance@10": round(figures["recall@10"] / chance, 2),
        "best_epoch": history.filter("best")["epoch"].item(),
        **cost,
    }
    print("posters", seed, result, flush=True)
    return result


def main() -> None:
    """Measures, keeps the result, and fails where a bound of the storefront does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--source", type=Path, help="ml-1m.zip, for the posters")
    parser.add_argument("--posters", type=Path, help="ml-1m-posters.zip")
    asked = parser.parse_args()
    if asked.source and asked.posters:
        found = {seed: posters(asked.source, asked.posters, seed, HouseVisionSettings()) for seed in asked.seeds}
        held = all(figures["times_chance@10"] >= POSTERS for figures in found.values())
        print(f"kept in {save('house_vision_posters', {'bound': POSTERS, 'holds': held, 'seeds': found})}")
        return
    shops = {seed: storefront(seed) for seed in asked.seeds}
    held = all(shop["drawings"]["style"] >= STYLE and shop["drawings"]["theme"] >= THEME for shop in shops.values())
    bounds = {"style": STYLE, "theme": round(THEME, 4)}
    print(f"kept in {save('house_vision', {'bounds': bounds, 'holds': held, 'seeds': shops})}")
    if not held:
        raise SystemExit("a bound does not hold")


if __name__ == "__main__":
    main()
