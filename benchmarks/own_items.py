"""How much of a session model's list its own session takes up, and what it would reach if nothing were said twice.

python -m benchmarks.own_items --storage storage --dataset ml-1m --protocol paper_sessions_user_order

Protocols of sessions leave the clicks of the session among the candidates, as their papers do. Where nobody clicks
twice, each of them above the target is a place lost. Read from the rankings that a run has left, nothing is fitted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.machine import save
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data.sequences import Queries
from weft.evaluation.protocols import protocol

K = 20


def measure(rankings: pl.DataFrame, asked: Queries) -> dict[str, float]:
    """P@20 and MRR@20 as they are and without the history's own items, whose mean number among the first 20 is ``own``.

    Args:
        rankings: Of one system and split. Own items beyond the kept list are not seen: what is told is a lower bound.
        asked: Its queries.
    """
    history = pl.DataFrame(
        {"query": np.repeat(asked.query, asked.lengths), "items": asked.items, "is_own": True}
    ).unique()
    listed = (
        rankings.select("query", "items", "scores", target_score="score")
        .with_columns(place=pl.int_ranges(1, pl.col("items").list.len() + 1))
        .explode("items", "scores", "place")
        .join(history, on=["query", "items"], how="left", maintain_order="left")
        .group_by("query")
        .agg(
            own=(pl.col("is_own") & (pl.col("place") <= K)).sum(),
            above=(pl.col("is_own") & (pl.col("scores") > pl.col("target_score"))).sum(),
        )
    )
    rank = 1 + pl.col("better") + pl.col("equal") / 2
    told = rankings.join(listed, on="query", how="left").select("own", rank=rank, without=rank - pl.col("above"))

    def at(rank: pl.Expr, suffix: str) -> list[pl.Expr]:
        within = rank <= K
        return [within.mean().alias(f"p{suffix}"), (within / rank).mean().alias(f"mrr{suffix}")]

    figures = [*at(pl.col("rank"), ""), *at(pl.col("without"), "_without")]
    return told.select(pl.col("own").mean(), *figures).row(0, named=True)


def main() -> None:
    """Every session model of the storage, on its validation and test splits."""
    parser = argparse.ArgumentParser(description="What the items of the own session take from a session model")
    parser.add_argument("--storage", type=Path, default=Path("storage"))
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--protocol", default="paper_sessions_user_order")
    options = parser.parse_args()
    store = ArtifactStore(str(options.storage.resolve()))
    cell = Cell(options.dataset, options.protocol, variant="full", profile="offline", seed=0)
    splits = store.read("interactions.splits", cell.of_protocol())
    n_items = len(store.read("interactions.items", cell.of_dataset()))
    found = {}
    for folder in sorted((options.storage / "behaviour").glob("*_rankings")):
        rankings = store.read(f"behaviour.{folder.name}", cell)
        found[folder.name.removesuffix("_rankings")] = {
            split: measure(
                rankings.filter(split=split), protocol(options.protocol).task(splits, split, n_items).queries
            )
            for split in ("validation", "test")
        }
    print(json.dumps(found, indent=1))
    print(f"kept in {save('own_items', {'dataset': options.dataset, 'protocol': options.protocol, 'found': found})}")


if __name__ == "__main__":
    main()
