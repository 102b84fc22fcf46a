"""The I/O manager: what an asset returns becomes a leaf, and what it asks for comes from one.

Partition key = data set. An asset returns one frame, or ``Leaves`` (several cells of that data set), or ``Rebuild``
(rows computed while the leaf is locked); wherever a frame may stand, ``Table`` adds footer attributes. It asks for
its inputs by annotation. Not here: how a leaf is written (``artifacts.py``).
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, get_origin

import dagster as dg
import polars as pl
import pyarrow as pa
from pydantic import Field, PrivateAttr
from upath import UPath

from resources import metadata
from resources.artifacts import ArtifactStore, Leaf
from resources.catalogue import refresh
from resources.parquet import Rows
from resources.provenance import Input
from weft.cells import Cell, check_key
from weft.errors import LockedError, RequestError
from weft.progress import LogProgress

SHARED = "shared"
"""Stands for the data set in the one leaf of an asset without partitions."""

Stage: TypeAlias = tuple[str, str]
"""Run id and step key: one execution of one asset body."""

Leaves: TypeAlias = dict[Cell, Any]
"""Several cells of one data set: frames, or ``Table``s. As an input: all leaves of the asset for the data set."""


@dataclass(frozen=True)
class Table:
    """Rows, and what the footer says of them besides where they come from: system, device, seconds."""

    rows: Rows
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rebuild:
    """Rows that are computed while the leaf's lock is held, from what stands in storage then.

    Two runs that rebuild one report at once follow each other, so that the later one sees the other's outcomes.
    """

    make: Callable[[], Rows]


class ParquetStorage(dg.ConfigurableIOManager, dg.UPathIOManager):
    """Keeps every asset as verified Parquet, and the catalogue beside it up to date.

    Bound to the key ``io_manager``; assets that read at their own pace ask for it and use ``store``.
    """

    base: str = Field(default="", description="Folder or fsspec URL; empty: WEFT_STORAGE, else ./storage.")
    lock_timeout: float = Field(default=300.0, ge=0, description="Seconds that a second writer of a leaf waits.")
    keep_versions: int = Field(default=3, ge=0, description="Earlier versions of a leaf kept for rollback.")
    keep_bytes: int = Field(default=2 << 30, ge=0, description="Bytes that the earlier versions of one leaf may take.")

    _store: ArtifactStore | None = PrivateAttr(default=None)
    _loaded: dict[Stage, list[Input]] = PrivateAttr(default_factory=dict)
    _written: dict[str, tuple[list[Leaf], float]] = PrivateAttr(default_factory=dict)

    @property
    def store(self) -> ArtifactStore:
        """The store below; what is loaded from it in a stage is named among the stage's inputs."""
        if self._store is None:
            self._store = ArtifactStore(
                self.base or os.environ.get("WEFT_STORAGE") or "storage",
                lock_timeout=self.lock_timeout,
                keep_versions=self.keep_versions,
                keep_bytes=self.keep_bytes,
            )
            self._store.on_load = lambda read: self._note(_stage_now(), read)
        return self._store

    # ---- places -----------------------------------------------------------------------------------------------

    @property
    def _base_path(self) -> UPath:  # type: ignore[override]
        return self.store.base

    def get_path_for_partition(self, context: dg.InputContext | dg.OutputContext, path: UPath, partition: str) -> UPath:
        """The data set's leaf.

        Raises:
            RequestError: If the partition key is not on the allow-list (it would name a folder).
        """
        del path
        return self.store.path(_asset(context), Cell(check_key(partition)))

    def _get_path(self, context: dg.InputContext | dg.OutputContext) -> UPath:
        return self.store.path(_asset(context), Cell(SHARED))

    def make_directory(self, path: UPath) -> None:
        """Nothing: the store makes the folders of the leaves that it writes."""

    # ---- out --------------------------------------------------------------------------------------------------

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Commits the leaf, or every leaf of ``Leaves`` on its own."""
        started = time.perf_counter()
        asset, home = self.store.locate(path)
        provenance = {
            "run_id": context.run_id,
            "code_version": context.asset_spec.code_version or "",
            "config": context.step_context.op_config or {},
        }
        loaded = self._loaded.get((context.run_id, context.step_key), [])
        tables = obj if isinstance(obj, Mapping) else {home: obj}
        if strays := [cell.path for cell in tables if cell.dataset != home.dataset]:
            raise RequestError(f"{asset}: {strays[0]} is no cell of {home.dataset}", "return its own cells alone")
        leaves = []
        progress = LogProgress(context.log.info, interval=5.0)
        for cell, value in tables.items():
            table = value if isinstance(value, Table) else Table(_rows(value, asset))
            rows = table.rows.make if isinstance(table.rows, Rebuild) else table.rows
            # A stage that makes several cells has loaded what another variant or seed is made from as well.
            own = {**provenance, "inputs": [read for read in loaded if cell.agrees(Cell.parse(read.cell))]}
            leaf = self.store.write(asset, cell, rows, provenance=own, attributes=table.attributes, progress=progress)
            context.log.info("%s: %s rows, %s", leaf.path, f"{leaf.rows:,}", metadata.size(leaf.bytes))
            leaves.append(leaf)
        self._written[_key(context)] = leaves, time.perf_counter() - started
        try:
            refresh(self.store)
        except LockedError as error:  # whoever holds it will list this leaf as well, or the next commit does
            context.log.warning(str(error))

    def get_metadata(self, context: dg.OutputContext, obj: Any) -> dict[str, dg.MetadataValue]:
        """What a person wants to see of the commit."""
        del obj
        leaves, seconds = self._written.pop(_key(context), ([], 0.0))
        return metadata.of_commit(self.store, leaves, seconds, partitioned=context.has_asset_partitions)

    # ---- in ---------------------------------------------------------------------------------------------------

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pl.LazyFrame | pl.DataFrame | Leaves:
        """The input in the form that its annotation names; a LazyFrame where there is none.

        Raises:
            MissingArtifactError: If it has not been made.
            IntegrityError: If it is not what was written.
        """
        asset, cell = self.store.locate(path)
        kind = context.dagster_type.typing_type
        if kind is dict or get_origin(kind) is dict:
            found = self.store.leaves(asset, dataset=cell.dataset)
            return {leaf.cell: self._load(context, asset, leaf.cell) for leaf in found}
        frame = self._load(context, asset, cell)
        return frame.collect() if kind is pl.DataFrame else frame

    def _load(self, context: dg.InputContext, asset: str, cell: Cell) -> pl.LazyFrame:
        leaf, frame = self.store.load(asset, cell)
        step = context.step_context
        self._note((step.run_id, step.step.key), Input(asset, cell.path, leaf.digest))
        return frame

    def _note(self, stage: Stage | None, read: Input) -> None:
        if stage:
            self._loaded.setdefault(stage, []).append(read)


def _asset(context: dg.InputContext | dg.OutputContext) -> str:
    if not context.has_asset_key or len(context.asset_key.path) != 2:
        raise RequestError("only assets are kept, under keys [group, name]", "give the asset such a key")
    return ".".join(context.asset_key.path)


def _key(context: dg.OutputContext) -> str:
    return f"{context.step_key}/{context.name}"


def _stage_now() -> Stage | None:
    """The stage whose body is running; None outside of one."""
    try:
        context = dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None
    return context.run_id, context.get_step_execution_context().step.key


def _rows(value: Any, asset: str) -> Any:
    if isinstance(value, pl.DataFrame | pl.LazyFrame | pa.Table | Rebuild):
        return value
    raise RequestError(
        f"{asset} returned {type(value).__name__}, which is no table", "return a polars frame, Table, Leaves or Rebuild"
    )
