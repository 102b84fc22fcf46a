"""Asset checks: what must hold before anybody trusts a number. Blocking ones stop the stages behind them.

Not here: the schema, which the storage checks on every write.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping

import dagster as dg
import polars as pl

from assets.partitions import DATASETS
from resources.cells import Cells
from resources.storage import ParquetStorage
from weft.cells import Cell
from weft.models.registry import MODELS

SPLITS = dg.AssetKey(["interactions", "splits"])
RANKINGS = [dg.AssetKey([entry.group, f"{entry.name}_rankings"]) for entry in MODELS.values()]
RECOMMENDATIONS = dg.AssetKey(["serving", "recommendations"])

_PARTS = ("train", "validation", "test")
_ONE_CLOCK = {"global_time"}
"""Protocols with one cut in time for everybody; elsewhere before and after are per user."""


def empty_splits(splits: pl.DataFrame) -> list[str]:
    """The parts without a row, and the evaluated parts without a target."""
    held = splits.group_by("split").agg(rows=pl.len(), targets=pl.col("target").sum())
    rows = dict(zip(held["split"], held["rows"], strict=True))
    targets = dict(zip(held["split"], held["targets"], strict=True))
    return [part for part in _PARTS if not rows.get(part) or (part != "train" and not targets.get(part))]


def targets_in_own_history(splits: pl.DataFrame) -> int:
    """Targets that stand a second time, with the same user, item and time, in their own history."""
    moment = ["user", "item", "timestamp"]
    twice = splits.filter(pl.col("split") != "unused").filter(pl.col("timestamp").is_not_null())
    return twice.filter(pl.col("target") & (pl.int_range(pl.len()).over(moment) > 0)).height


def future_rows_in_training(splits: pl.DataFrame, protocol: str) -> int:
    """Training rows of a user that come after a held-out row of that user (of anybody, with one clock for all)."""
    train = pl.col("split") == "train"
    held = pl.col("split").is_in(["validation", "test"])
    if protocol in _ONE_CLOCK:
        first = splits.filter(held)["timestamp"].min()
        return 0 if first is None else splits.filter(train & (pl.col("timestamp") >= first)).height
    ordered = splits.sort("user", "timestamp", "row")
    return ordered.filter(train & (held.cast(pl.Int32).cum_sum().over("user") > 0)).height


def _spec(name: str, asset: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    """A blocking check with a result per data set."""
    with warnings.catch_warnings():  # partitioned checks are in preview; tests/pipelines pin what is relied upon
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=asset, blocking=True, description=description, partitions_def=DATASETS)


@dg.multi_asset_check(
    specs=[
        _spec("no_empty_split", SPLITS, "Every part has rows, and validation and test have targets."),
        _spec("no_target_in_own_history", SPLITS, "No target event stands in its own history."),
        _spec("no_future_in_training", SPLITS, "No training row comes after what is held out."),
    ],
    name="splits_checks",
)  # fmt: skip
def splits_checks(
    context: dg.AssetCheckExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> Iterable[dg.AssetCheckResult]:
    """Looks at the splits of every protocol of this run."""
    store = io_manager.store
    wanted = {cell.of_protocol() for cell in cells.of(context.partition_key)}
    tables = {cell: store.read("interactions.splits", cell) for cell in sorted(wanted)}
    yield _result("no_empty_split", SPLITS, tables, lambda _, table: ", ".join(empty_splits(table)))
    yield _result("no_target_in_own_history", SPLITS, tables, lambda _, table: targets_in_own_history(table))
    # Data that come split may be split by anything: then it is worth knowing, and no reason to stop.
    predefined = all(cell.protocol == "predefined" for cell in tables)
    yield _result(
        "no_future_in_training",
        SPLITS,
        tables,
        lambda cell, table: future_rows_in_training(table, str(cell.protocol)),
        severity=dg.AssetCheckSeverity.WARN if predefined else dg.AssetCheckSeverity.ERROR,
    )


def _coverage(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    """Every target of the protocol is ranked once."""

    @dg.multi_asset_check(
        specs=[_spec("every_target_is_ranked", key, "One row per target of the validation and the test split.")],
        name=f"{'__'.join(key.path)}_coverage",
    )
    def coverage(
        context: dg.AssetCheckExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
    ) -> Iterable[dg.AssetCheckResult]:
        store = io_manager.store
        tables = {cell: store.read(".".join(key.path), cell) for cell in cells.of(context.partition_key)}

        def missing(cell: Cell, table: pl.DataFrame) -> int:
            splits = store.scan("interactions.splits", cell.of_protocol())
            asked = splits.filter("target").select(pl.col("split").cast(pl.String), query="row").collect()
            ranked = table.select(pl.col("split").cast(pl.String), "query")
            return asked.join(ranked, on=["split", "query"], how="anti").height + len(ranked) - ranked.n_unique()

        yield _result("every_target_is_ranked", key, tables, missing)

    return coverage


@dg.multi_asset_check(
    specs=[_spec("every_user_is_served", RECOMMENDATIONS, "Everybody has recommendations, none of what they took.")],
    name="serving__recommendations_coverage",
)
def every_user_is_served(
    context: dg.AssetCheckExecutionContext, io_manager: dg.ResourceParam[ParquetStorage]
) -> Iterable[dg.AssetCheckResult]:
    """Looks at the recommendations of the data set."""
    store, cell = io_manager.store, Cell(context.partition_key)
    served = store.read("serving.recommendations", cell)
    users = store.read("interactions.users", cell)
    taken = store.scan("interactions.interactions", cell).select("user", "item").collect()
    # A user who took everything there is has nothing left to be offered.
    busy = taken.group_by("user").agg(pl.col("item").n_unique()).filter(pl.col("item") >= taken["item"].n_unique())
    without = users.join(served, on="user", how="anti").join(busy, on="user", how="anti").height
    again = served.join(taken, on=["user", "item"], how="semi").height
    yield dg.AssetCheckResult(
        passed=not without and not again,
        description=f"{without} users without recommendations, {again} recommended items that were taken already",
        metadata={"users": users.height, "without": without, "again": again},
    )


def _result(
    name: str,
    key: dg.AssetKey,
    tables: Mapping[Cell, pl.DataFrame],
    look: Callable[[Cell, pl.DataFrame], int | str],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """Passed if ``look`` finds nothing in any cell; else says what it found where."""
    found = {cell: look(cell, table) for cell, table in tables.items()}
    bad = {cell.path: what for cell, what in found.items() if what}
    told = "; ".join(f"{path}: {what}" for path, what in bad.items())
    return dg.AssetCheckResult(
        passed=not bad, check_name=name, asset_key=key, severity=severity, description=told or "holds",
        metadata={"cells": len(tables)},
    )  # fmt: skip


CHECKS = [splits_checks, *(_coverage(key) for key in RANKINGS), every_user_is_served]
