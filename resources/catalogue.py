"""SQL over the artifacts: one DuckDB schema per group, one view per asset, in a file or in memory.

The views name the Parquet files by absolute path; coordinates of the cell are text columns. Vectors are ``FLOAT[]``,
with a typed view per width (``item_embeddings_64``). What has not been made yet is an empty view with its columns.
The file holds nothing but views: it is built aside and replaced whole, so nobody who has it open is in the way,
and it can be deleted at any time. Plain SQL reads the files without checking their digests, and DuckDB opens each
twice, to plan and to read: where a commit falls in between, it may say that the file is invalid. Ask again, or use
``query``, which gives the files names of its own first and verifies those that are asked for.
"""

import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import cast

import dataframely as dy
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from resources.artifacts import ArtifactStore, Leaf
from resources.locks import locked
from weft.cells import Cell
from weft.errors import WeftError
from weft.models.registry import MODELS
from weft.schemas import SCHEMAS, schema_of

CATALOGUE = "catalogue.duckdb"

_TYPES = {pl.Int64: "BIGINT", pl.Int32: "INTEGER", pl.Float64: "DOUBLE", pl.Float32: "FLOAT", pl.Boolean: "BOOLEAN",
          pl.Binary: "BLOB", pl.String: "VARCHAR"}  # fmt: skip


_VECTORS = {
    "behaviour.item_embeddings": ["item"],
    "behaviour.user_embeddings": ["user"],
    "behaviour.user_states": ["row"],
    "alignment.aligned_items": ["item"],
    "content.image_embeddings": ["item"],
    "content.text_embeddings": ["item", "of"],
    "content.llm_embeddings": ["item", "of"],
    "content.sentence_embeddings": ["item", "of"],
    "content.localized_intents": ["session", "view"],
}
"""Tables of vectors and their keys; the width is known when they are made."""

_PARTS = ("", "_history", "_rankings", "_scored_pairs")
"""What a model makes, by the ending of the asset's name."""


def known_assets() -> list[str]:
    """Every asset that has a schema, made or not."""
    named = [asset for asset in SCHEMAS if "*" not in asset]
    models = [f"{e.group}.{e.name}{part}" for e in MODELS.values() for part in _PARTS]
    return sorted({*named, *models, *_VECTORS})


def query(store: ArtifactStore, sql: str) -> pl.DataFrame:
    """Runs ``sql`` on views made in memory, over the files as they are now: never stale, and never locked out.

    The files of the assets that ``sql`` names are verified first; of all assets where it names none.

    Raises:
        IntegrityError: If a file is not what was written; names the file.
        duckdb.Error: If the statement is wrong.
    """
    with _frozen(store, sql) as (leaves, base), duckdb.connect() as connection:
        _define(connection, store, leaves, base)
        answer = connection.sql(sql)
        return answer.pl() if answer else pl.DataFrame()


@contextmanager
def _frozen(store: ArtifactStore, sql: str) -> Iterator[tuple[list[Leaf], str]]:
    """All leaves, and a base below which they stay as they are; those that ``sql`` asks for are verified there."""
    for last in (False, True):
        leaves = store.leaves()
        asked = [leaf for leaf in leaves if _names(sql, leaf.asset)] or leaves
        with store.place.freeze(leaf.path for leaf in leaves) as base:
            try:
                for leaf in asked:
                    store.verify(leaf, UPath(base).joinpath(*leaf.path.relative_to(store.base).parts))
            except WeftError:
                if last:
                    raise
                continue  # a writer may have replaced the file between its freezing and its digests
            yield leaves, base
            return


def _names(sql: str, asset: str) -> bool:
    """Whether ``group.name`` occurs in the text, in either case and quoted or not; a longer name is no harm."""
    return asset in sql.lower().replace('"', "")


def refresh(store: ArtifactStore) -> Path | None:
    """Builds ``catalogue.duckdb`` anew; None for a base that is no local folder, which ``query`` reads instead.

    Raises:
        LockedError: If another process is building it for longer than half a minute.
    """
    if not store.place.local:
        return None
    folder = Path(store.base.path)
    file = folder / CATALOGUE
    lock = locked(folder / f".{CATALOGUE}.lock", str(file), timeout=30.0)
    with lock, tempfile.TemporaryDirectory(dir=folder, prefix=f".{CATALOGUE}.") as aside:
        fresh = Path(aside) / CATALOGUE
        with duckdb.connect(fresh) as connection:
            _define(connection, store, store.leaves(), str(store.base))
        _set_aside(file.with_name(f"{CATALOGUE}.wal"))
        fresh.replace(file)
    return file


def free(store: ArtifactStore) -> None:
    """Puts a fresh ``catalogue.duckdb`` in the place of one that somebody holds open for writing.

    DuckDB locks every other process out of such a file. Its holder keeps what they opened, under no name.
    """
    file = Path(store.base.path) / CATALOGUE
    if not store.place.local or not file.exists():
        return
    try:
        duckdb.connect(file, read_only=True).close()
    except duckdb.IOException:  # locked, or damaged: either way a new one is right
        with suppress(WeftError, OSError):  # whoever may only read the storage can still ask ``query``
            refresh(store)


def _set_aside(wal: Path) -> None:
    """A write-ahead log belongs to the file that is about to go: left there, nobody could open the new one."""
    if not wal.exists():
        return
    aside = wal.with_name(f".{wal.name}.{time.time_ns()}")
    wal.replace(aside)
    warnings.warn(
        f"{CATALOGUE} is open for writing elsewhere; its log was set aside as {aside.name}. Open it with -readonly.",
        stacklevel=3,
    )


def _define(connection: duckdb.DuckDBPyConnection, store: ArtifactStore, leaves: list[Leaf], base: str) -> None:
    if not store.place.local:
        connection.register_filesystem(store.base.fs)
    made = {asset: list(leaves) for asset, leaves in groupby(leaves, key=lambda leaf: leaf.asset)}
    root = str(store.base)
    while broken := _try(connection, made, root, base):
        del made[broken]


def _try(connection: duckdb.DuckDBPyConnection, made: dict[str, list[Leaf]], root: str, base: str) -> str | None:
    """Makes all views in one transaction, since each on its own would sync the file; returns the asset in the way."""
    known = known_assets()
    connection.begin()
    for group in sorted({asset.split(".")[0] for asset in [*made, *known]}):
        connection.execute(f"CREATE SCHEMA {_quoted(group)}")
    for asset in sorted({*made, *known}):
        try:
            connection.execute(";".join(_views(root, base, asset, made[asset])) if asset in made else _empty(asset))
        except (duckdb.Error, pa.ArrowInvalid) as error:  # the others can be read all the same
            warnings.warn(f"the catalogue leaves {asset} out: {error}", stacklevel=4)
            connection.rollback()
            return asset
    connection.commit()
    return None


def _views(root: str, base: str, asset: str, leaves: list[Leaf]) -> Iterator[str]:
    """The view over all leaves of an asset, below ``base`` for ``root``, and a typed one per width of its vectors."""
    files = ", ".join(_text(base + str(leaf.path).removeprefix(root)) for leaf in leaves)
    yield (
        f"CREATE VIEW {_name(asset)} AS FROM read_parquet([{files}], "
        "hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
    )
    for column, width in sorted(_vectors(leaves)):
        typed = _name(f"{asset}_{width}" if column == "vector" else f"{asset}_{column}_{width}")
        vector = _quoted(column)
        columns = f"* REPLACE (TRY_CAST({vector} AS FLOAT[{width}]) AS {vector})"
        yield f"CREATE VIEW {typed} AS FROM {_name(asset)} SELECT {columns} WHERE len({vector}) = {width}"


def _vectors(leaves: list[Leaf]) -> set[tuple[str, int]]:
    """Names and widths of the vector columns. Leaves of one asset differ in width, never in what is a vector."""
    found: set[tuple[str, int]] = set()
    for leaf in leaves:
        with leaf.path.open("rb") as file:
            columns = pq.read_schema(file)
        here = {(field.name, field.type.list_size) for field in columns if pa.types.is_fixed_size_list(field.type)}
        if not here:
            break
        found |= here
    return found


def _empty(asset: str) -> str:
    columns = dict(pl.Schema(_schema(asset)))
    types = {name: _type(kind) for name, kind in columns.items()}
    types |= dict.fromkeys(_keys(asset), "VARCHAR")
    told = ", ".join(f"NULL::{kind} AS {_quoted(name)}" for name, kind in types.items())
    return f"CREATE VIEW {_name(asset)} AS SELECT {told} WHERE false"


def _schema(asset: str) -> type[dy.Schema]:
    """The schema of an asset; for vectors, whose width is not known yet, one of width 1."""
    keys = dict.fromkeys(_VECTORS.get(asset, ()), pl.Int32())
    schema = schema_of(asset, pl.Schema({**keys, "vector": pl.Array(pl.Float32(), 1)}))
    if schema is None:
        raise KeyError(f"{asset} has no schema in weft/schemas.py")
    return schema


_COORDINATES = {
    "interactions.splits": ("dataset", "protocol"),
    "interactions.negatives": ("dataset", "protocol"),
    "content.*intent*": ("dataset", "profile", "protocol"),
    "content.*assessment*": ("dataset", "profile", "protocol"),
    "content.*": ("dataset", "profile"),
    "alignment.*": ("dataset", "profile", "seed"),
    "behaviour.trials": ("dataset", "protocol", "seed"),
    "behaviour.user_states*": ("dataset", "profile", "protocol", "seed"),
    "interactions.*": ("dataset",),
    "house.*": ("dataset",),
    "reports.*": ("dataset",),
    "serving.*": ("dataset",),
    "*": tuple(sorted(field.name for field in fields(Cell))),
}
"""Coordinates of an asset's leaves by its name, in DuckDB's order; the first that matches counts."""


def _keys(asset: str) -> tuple[str, ...]:
    return next(keys for pattern, keys in _COORDINATES.items() if fnmatchcase(asset, pattern))


def _type(kind: pl.DataType) -> str:
    """DuckDB's type of a column as its Parquet reader gives it: text for enumerations, no widths for vectors."""
    if isinstance(kind, pl.List | pl.Array):
        return f"{_type(cast('pl.DataType', kind.inner))}[]"
    return _TYPES.get(type(kind), "VARCHAR")


def _name(asset: str) -> str:
    return ".".join(_quoted(part) for part in asset.split("."))


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
