"""What a person sees of a stage in the Dagster UI: curves, histograms, figures. Small pictures only."""

from base64 import b64encode
from collections.abc import Mapping
from itertools import pairwise

import dagster as dg
import numpy as np
import polars as pl

from assets.fitting import Fitted
from weft.cells import Cell
from weft.data import summary
from weft.evaluation import metrics

_RANKS = (1, 2, 4, 11, 31, 101, 301, 1001)
"""Lower ends of the ranges in a histogram of ranks."""

_MOST_BYTES = 90_000
"""Metadata lies in the event log; larger pictures are left out."""


def of_fit(fitted: Mapping[Cell, Fitted]) -> dict:
    """Seconds, parameters, device and curve of each cell's fit."""
    metadata: dict = {}
    for cell, each in fitted.items():
        name, given = _short(cell), each.attributes
        metadata[f"seconds{name}"] = float(given["seconds_fit"])
        metadata[f"parameters{name}"] = int(given["parameters"])
        metadata[f"device{name}"] = given["device"]
        metadata[f"curve{name}"] = _curve(each.history)
    return {key: value for key, value in metadata.items() if value is not None}


def of_history(history: pl.DataFrame) -> dict:
    """Curve and last figures of a fit that has no cell of its own."""
    curve = _curve(history)
    told = {"epochs": len(history), "loss": history["loss"][-1], **({"curve": curve} if curve else {})}
    measured = history.filter(pl.col("validation").is_not_null())
    if len(measured):
        told[f"validation {measured['metric'][-1].upper()}"] = measured["validation"].max()
    return told


def of_prompts(tables: Mapping[Cell, pl.DataFrame]) -> dict:
    """Prompts per split, and one of them; a slot is shown as a black square."""
    metadata: dict = {}
    for cell, table in tables.items():
        parts = table.group_by("split").len("prompts").sort("split")
        metadata[f"prompts{_short(cell)}"] = dg.MetadataValue.md(summary.markdown(parts))
        if len(table):
            metadata[f"one of them{_short(cell)}"] = table["messages"][-1][-1]["content"].replace("\ufffc", "■")
    return metadata


def of_rankings(tables: Mapping[Cell, pl.DataFrame]) -> dict:
    """NDCG@10 on validation, and where the true items of the test split stood."""
    metadata: dict = {}
    for cell, table in tables.items():
        metadata[f"validation NDCG@10{_short(cell)}"] = _ndcg(table.filter(pl.col("split") == "validation"))
        metadata[f"ranks{_short(cell)}"] = _histogram(table.filter(pl.col("split") == "test"))
    return {key: value for key, value in metadata.items() if value is not None}


def of_scored_pairs(tables: Mapping[Cell, pl.DataFrame]) -> dict:
    """AUC on validation, and the pairs that were scored."""
    metadata: dict = {}
    for cell, table in tables.items():
        held = table.filter(pl.col("split") == "validation")
        score = held["score"].fill_null(-np.inf).cast(pl.Float64).to_numpy()
        value = float(metrics.auc(held["label"].to_numpy(), score)[0])
        metadata[f"validation AUC{_short(cell)}"] = None if np.isnan(value) else value
        metadata[f"pairs{_short(cell)}"] = len(table)
        metadata[f"scores{_short(cell)}"] = _by_label(held)
    return {key: value for key, value in metadata.items() if value is not None}


def _ndcg(table: pl.DataFrame) -> float | None:
    return None if table.is_empty() else float(metrics.ndcg(metrics.mid_ranks(table), 10).mean())


def _histogram(table: pl.DataFrame) -> dg.MetadataValue | None:
    """Share of queries per range of mid-ranks. As text: drawing a picture costs seconds in every step."""
    if table.is_empty():
        return None
    ranks = metrics.mid_ranks(table)
    rows = []
    for low, high in zip(_RANKS, (*_RANKS[1:], float("inf")), strict=True):
        share = np.mean((ranks >= low) & ((ranks < high) | (high == float("inf"))))
        name = f"{low} and worse" if high == float("inf") else f"{low} to {high - 1}" if high > low + 1 else f"{low}"
        rows.append(f"| {name} | {share:.1%} | {'█' * round(40 * share)} |")
    return dg.MetadataValue.md("\n".join(["| rank of the target | share | |", "|---|---|---|", *rows]))


def _by_label(table: pl.DataFrame) -> dg.MetadataValue | None:
    """Share of liked and of other pairs per tenth of the scores, from the lowest."""
    scores = table["score"].drop_nulls().drop_nans().to_numpy()
    if not len(scores):
        return None
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, 11)))
    rows = []
    for low, high in pairwise(edges):
        last = pl.col("score") <= high if high == edges[-1] else pl.col("score") < high
        liked = table.filter((pl.col("score") >= low) & last)["label"].to_numpy()
        if len(liked):
            share = float(np.mean(liked))
            rows.append(f"| {low:.2f} to {high:.2f} | {len(liked)} | {share:.1%} | {'█' * round(40 * share)} |")
    return dg.MetadataValue.md("\n".join(["| score | pairs | liked | |", "|---|---|---|---|", *rows]))


def _curve(history: pl.DataFrame) -> dg.MetadataValue | None:
    from weft.reporting import plots  # noqa: PLC0415 - altair is slow to import

    if history.is_empty():
        return None
    return _picture(plots.to_png(plots.curves(history)))


def _picture(png: bytes) -> dg.MetadataValue | None:
    if len(png) > _MOST_BYTES:
        return None
    return dg.MetadataValue.md(f"![](data:image/png;base64,{b64encode(png).decode()})")


def _short(cell: Cell) -> str:
    """`` (leave_one_out, seed 0)``: names the cell inside a data set's partition."""
    parts = [cell.protocol, None if cell.variant in (None, "full") else cell.variant]
    named = [part for part in parts if part]
    if cell.seed is not None:
        named.append(f"seed {cell.seed}")
    return f" ({', '.join(named)})" if named else ""
