"""Asset checks: what must hold before anybody trusts a number. Blocking ones stop the stages behind them.

Not here: the schema, which the storage checks on every write.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import dagster as dg
import polars as pl

from assets.partitions import DATASETS
from resources.cells import Cells
from resources.storage import ParquetStorage
from weft.cells import Cell
from weft.evaluation.protocols import Protocol
from weft.models.registry import MODELS
from weft.systems.registry import OUTCOMES, SYSTEMS

SPLITS = dg.AssetKey(["interactions", "splits"])
RANKINGS, SCORED_PAIRS = (
    [dg.AssetKey([each.group, f"{each.name}_{outcome}"]) for each in MODELS.values() if kind in each.kinds]
    for kind, outcome in OUTCOMES.items()
)
RECOMMENDATIONS = dg.AssetKey(["serving", "recommendations"])

_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Finding:
    """What a check found in one cell, and whether it is reason to stop or only worth knowing."""

    what: str
    stops: bool = True


def empty_splits(splits: pl.DataFrame) -> list[str]:
    """The parts without a row, and the evaluated parts without a target."""
    held = splits.group_by("split").agg(rows=pl.len(), targets=pl.col("target").sum())
    rows = dict(zip(held["split"], held["rows"], strict=True))
    targets = dict(zip(held["split"], held["targets"], strict=True))
    return [part for part in _PARTS if not rows.get(part) or (part != "train" and not targets.get(part))]


def targets_in_own_history(splits: pl.DataFrame, grouped_by: str = "user") -> int:
    """Targets whose own row stands in their history: it is there twice, or a later row of the user comes first.

    Where ``grouped_by`` is ``session``, of the session.
    """
    visible = splits.filter(pl.col("split") != "unused")
    own = pl.col("row") == visible.sort(grouped_by, "timestamp", "row")["row"]
    return visible.filter(pl.col("target") & (~own | (pl.len().over("row") > 1))).height


def targets_taken_before_in_the_same_second(splits: pl.DataFrame, grouped_by: str = "user") -> int:
    """Targets whose item the user took in the same second already (rated twice, two of a kind): easy to guess."""
    dated = splits.filter((pl.col("split") != "unused") & pl.col("timestamp").is_not_null())
    again = pl.int_range(pl.len()).over(grouped_by, "item", "timestamp") > 0
    return dated.filter(pl.col("target") & again).height


def future_rows_in_training(splits: pl.DataFrame, rule: Protocol) -> int:
    """Training rows of a user (of a session) that come after a held-out row there.

    With one clock for all: rows in the second of the first held-out row of anybody, or later; in a session protocol,
    rows of sessions that start after the first held-out session does.
    """
    train = pl.col("split") == "train"
    held = pl.col("split").is_in(["validation", "test"])
    if not rule.one_clock:
        ordered = splits.sort(rule.grouped_by, "timestamp", "row")
        return ordered.filter(train & (held.cast(pl.Int32).cum_sum().over(rule.grouped_by) > 0)).height
    if rule.grouped_by == "session":
        started = splits.filter(train | held).with_columns(started=pl.col("timestamp").min().over("session"))
        return started.filter(train & (pl.col("started") > pl.col("started").filter(held).min())).height
    return splits.filter(train & (pl.col("timestamp") >= pl.col("timestamp").filter(held).min())).height


def wrongly_answered(splits: pl.DataFrame, outcome: pl.DataFrame, column: str) -> int:
    """Targets without a row in an outcome, whose ``column`` names the target, and rows that are there twice."""
    asked = splits.filter("target").select(pl.col("split").cast(pl.String), pl.col("row").alias(column))
    answered = outcome.select(pl.col("split").cast(pl.String), column)
    lacking = asked.join(answered, on=["split", column], how="anti").height
    return lacking + len(answered) - answered.n_unique()


def _spec(name: str, asset: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    """A blocking check with a result per data set."""
    with warnings.catch_warnings():  # partitioned checks are in preview; tests/pipelines pin what is relied upon
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(name, asset=asset, blocking=True, description=description, partitions_def=DATASETS)


@dg.multi_asset_check(
    specs=[
        _spec("no_empty_split", SPLITS, "There are rows to train on, and targets in validation and test."),
        _spec("no_target_in_own_history", SPLITS, "No target event stands in its own history."),
        _spec("no_future_in_training", SPLITS, "No training row comes after what is held out."),
    ],
    name="splits_checks",
)  # fmt: skip
def splits_checks(
    context: dg.AssetCheckExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
) -> Iterable[dg.AssetCheckResult]:
    """Looks at the splits of every protocol that this run fits on."""
    store, dataset = io_manager.store, context.partition_key
    fitted = {cell.of_protocol() for name in SYSTEMS for cell in cells.of_system(name, dataset)}
    wanted = sorted(
        {cell.of_protocol() for cell in cells.of(dataset)}
        | {cell for cell in fitted if store.exists("interactions.splits", cell)}
    )
    tables = {cell: (cells.rule(cell), store.read("interactions.splits", cell)) for cell in wanted}
    yield _result("no_empty_split", SPLITS, {cell: _emptiness(table) for cell, (_, table) in tables.items()})
    own = {cell: _count(targets_in_own_history(table, rule.grouped_by)) for cell, (rule, table) in tables.items()}
    again = sum(targets_taken_before_in_the_same_second(table, rule.grouped_by) for rule, table in tables.values())
    yield _result("no_target_in_own_history", SPLITS, own, taken_before_in_the_same_second=again)
    # What comes split, and a published split, may be split by anything: worth knowing, and no reason to stop.
    late = {
        cell: _count(future_rows_in_training(table, rule), stops=rule.promises_past)
        for cell, (rule, table) in tables.items()
    }
    yield _result("no_future_in_training", SPLITS, late)


def _emptiness(splits: pl.DataFrame) -> Finding | None:
    """What lacks: one evaluated part may, as in data that come as train and test."""
    empty = empty_splits(splits)
    if not empty:
        return None
    if "train" in empty or len(empty) > 1:
        return Finding(f"nothing in {', '.join(empty)}")
    without = "early stopping is off" if empty == ["validation"] else "nothing is measured on test"
    return Finding(f"nothing in {empty[0]}: {without}", stops=False)


CellsOf = Callable[[Cells, str], list[Cell]]


def _coverage(
    key: dg.AssetKey, name: str, kind: str, column: str, cells_of: CellsOf = Cells.of
) -> dg.AssetChecksDefinition:
    """Every target of the protocols of one kind has one row; ``column`` of the outcome holds the target's row."""

    @dg.multi_asset_check(
        specs=[_spec(name, key, "One row per target of the validation and the test split.")],
        name=f"{'__'.join(key.path)}_coverage",
    )
    def coverage(
        context: dg.AssetCheckExecutionContext, cells: Cells, io_manager: dg.ResourceParam[ParquetStorage]
    ) -> Iterable[dg.AssetCheckResult]:
        store = io_manager.store

        def look(cell: Cell) -> Finding | None:
            if not store.exists(".".join(key.path), cell):  # its step has said why, for example for want of timestamps
                return Finding("was not made", stops=False)
            splits = store.scan("interactions.splits", cell.of_protocol()).select("row", "split", "target").collect()
            return _count(wrongly_answered(splits, store.read(".".join(key.path), cell), column))

        wanted = [cell for cell in cells_of(cells, context.partition_key) if cells.rule(cell).kind == kind]
        yield _result(name, key, {cell: look(cell) for cell in wanted})

    return coverage


def _cells_of_system(name: str, cells: Cells, dataset: str) -> list[Cell]:
    return cells.of_system(name, dataset)


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


def _count(number: int, *, stops: bool = True) -> Finding | None:
    return Finding(str(number), stops) if number else None


def _result(name: str, key: dg.AssetKey, found: Mapping[Cell, Finding | None], **metadata: int) -> dg.AssetCheckResult:
    """Passed if nothing was found in any cell; else says what was found where. An error if any finding is one."""
    bad = {cell: finding for cell, finding in found.items() if finding}
    stops = any(finding.stops for finding in bad.values())
    return dg.AssetCheckResult(
        passed=not bad,
        check_name=name,
        asset_key=key,
        severity=dg.AssetCheckSeverity.ERROR if stops or not bad else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{cell.path}: {finding.what}" for cell, finding in bad.items()) or "holds",
        metadata={"cells": len(found), **metadata},
    )


_COVERED = {
    "ranking": ("every_target_is_ranked", "ranking", "query"),
    "pointwise": ("every_pair_is_scored", "pointwise", "row"),
}
"""Name of the check, kind, and the column that names the target's row, by kind of protocol."""

CHECKS = [
    splits_checks,
    *(_coverage(key, *_COVERED["ranking"]) for key in RANKINGS),
    *(_coverage(key, *_COVERED["pointwise"]) for key in SCORED_PAIRS),
    *(
        _coverage(dg.AssetKey([name, outcome]), *_COVERED[kind], partial(_cells_of_system, name))
        for name, system in SYSTEMS.items()
        for kind, outcome in system.outcomes.items()
    ),
    every_user_is_served,
]
