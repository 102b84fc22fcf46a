"""How much of a session model's list its own session takes up, and what it would reach if nothing were said twice.

python -m benchmarks.own_items --storage storage --dataset ml-1m --protocol paper_sessions_user_order

Protocols of sessions leave the clicks of the session among the candidates. Where nobody clicks twice, each of them
above the target is a place lost. Read from the rankings that a run has left, nothing is fitted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from benchmarks.machine import save
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data.sequences import Queries
from weft.evaluation.metrics import hr, mid_ranks, mrr
from weft.evaluation.protocols import protocol

K = 20
SPLITS: tuple[Literal["validation"], Literal["test"]] = ("validation", "test")


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
    found = rankings.select("query").join(listed, on="query", how="left", maintain_order="left")
    rank = mid_ranks(rankings)
    without = rank - found["above"].to_numpy()
    return {
        "own": float(found["own"].to_numpy().mean()),
        "p": float(hr(rank, K).mean()),
        "mrr": float(mrr(rank, K).mean()),
        "p_without": float(hr(without, K).mean()),
        "mrr_without": float(mrr(without, K).mean()),
    }


def main() -> None:
    """Every system of the storage that was ranked under the protocol, on validation and test."""
    parser = argparse.ArgumentParser(description="What the items of the own session take from a session model")
    parser.add_argument("--storage", type=Path, default=Path("storage"))
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--protocol", default="paper_sessions_user_order")
    options = parser.parse_args()
    store = ArtifactStore(str(options.storage.resolve()))
    cell = Cell(options.dataset, options.protocol, variant="full", profile="offline", seed=0)
    splits = store.read("interactions.splits", cell.of_protocol())
    n_items = len(store.read("interactions.items", cell.of_dataset()))
    asked = {split: protocol(options.protocol).task(splits, split, n_items).queries for split in SPLITS}
    found = {}
    for leaf in sorted(store.leaves("*.*rankings", dataset=options.dataset), key=lambda leaf: leaf.asset):
        if leaf.cell == cell:
            rankings = store.read(leaf.asset, cell)
            found[rankings["system"][0]] = {
                split: measure(rankings.filter(split=split), queries) for split, queries in asked.items()
            }
    print(json.dumps(found, indent=1))
    print(f"kept in {save('own_items', {'dataset': options.dataset, 'protocol': options.protocol, 'found': found})}")


if __name__ == "__main__":
    main()
