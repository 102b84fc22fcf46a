"""The store of artifacts: verified, atomically replaced Parquet leaves, and what is known about each.

One leaf is one file, ``base/group/name/dataset=…/…/data.parquet``. Beside it lie, hidden, its digests
(``.data.parquet.digest``) and its lock; versions before it lie in ``base/.history``. The order of a commit is:
stage, name the incoming digest beside the standing one, replace, name the new digest alone. A crash at any point
leaves a file whose digest is known. Not here: Dagster (``storage.py``), the SQL views (``catalogue.py``).
"""

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from polars.exceptions import PolarsError
from upath import UPath

from resources import parquet
from resources.history import History, Version
from resources.locks import locked
from resources.parquet import Rows, Written
from resources.places import place
from resources.provenance import PREFIX, Input, footer
from weft.cells import Cell
from weft.errors import IntegrityError, MissingArtifactError, RequestError, WeftError
from weft.progress import Progress

FILE = "data.parquet"

ASSET_PATTERN = re.compile(r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")

_READS: ContextVar[list[Input] | None] = ContextVar("reads", default=None)


@dataclass(frozen=True)
class Leaf:
    """One leaf as it stands: where it is and what it holds.

    Attributes:
        asset: ``group.name``.
        cell: Its coordinates.
        path: The Parquet file.
        digest: Content digest, equal for equal data; empty where the file of digests is missing.
        rows: Number of rows.
        bytes: Size of the file.
    """

    asset: str
    cell: Cell
    path: UPath
    digest: str
    rows: int
    bytes: int


class ArtifactStore:
    """Reads and writes leaves.

    Args:
        base: A folder, or any fsspec URL (``s3://bucket/weft``).
        lock_timeout: Seconds that a second writer of a leaf waits for the first.
        keep_versions: Versions of a leaf that are kept for rollback besides the present one.
        keep_bytes: Bytes that these versions of one leaf may take together.
    """

    def __init__(
        self, base: str | UPath, *, lock_timeout: float = 300.0, keep_versions: int = 3, keep_bytes: int = 2 << 30
    ) -> None:
        self.place = place(base)
        self.base = self.place.base
        self.work: Path = self.place.work
        self.lock_timeout = lock_timeout
        self.on_load: Callable[[Input], object] = lambda _: None
        """Hears of everything that is loaded."""
        self._history = History(self.place, versions=keep_versions, bytes=keep_bytes)

    # ---- where ------------------------------------------------------------------------------------------------

    def path(self, asset: str, cell: Cell) -> UPath:
        """The leaf's file, whether or not it exists.

        Raises:
            RequestError: If ``asset`` is not ``group.name``.
        """
        if not ASSET_PATTERN.fullmatch(asset):
            raise RequestError(f"{asset!r} is no artifact", "name it group.name, for example interactions.items")
        return self.base.joinpath(*asset.split("."), *cell.path.split("/"), FILE)

    def locate(self, path: UPath) -> tuple[str, Cell]:
        """Asset and cell of a leaf's file: the reverse of ``path``.

        Raises:
            RequestError: If the file stands where no leaf can.
        """
        inside = str(path).removeprefix(str(self.base)).strip("/")
        group, name, *_ = inside.split("/")
        asset = f"{group}.{name}"
        try:
            cell = Cell.parse(inside)
        except ValueError as error:  # a seed that is no number
            raise RequestError(f"{inside} names no cell") from error
        if str(self.path(asset, cell)) != str(path):
            raise RequestError(f"{inside} is not where {asset} of {cell.path} belongs")
        return asset, cell

    def exists(self, asset: str, cell: Cell) -> bool:
        """Whether the leaf has been made."""
        return self.path(asset, cell).exists()

    def leaves(self, pattern: str = "*.*", **selectors: str | int) -> list[Leaf]:
        """The leaves whose asset matches ``pattern`` and whose cell has the given coordinates, sorted by path.

        ``leaves("*.*rankings", dataset="ml-1m", seed=0)``. Nothing is verified here: reading does that.
        """
        group, _, name = pattern.partition(".")
        found = []
        for path in self.place.find(f"*/*/dataset={selectors.get('dataset', '*')}/**/{FILE}"):
            try:
                asset, cell = self.locate(path)
            except RequestError as error:
                warnings.warn(f"{path} is no artifact and is passed over: {error.culprit}", stacklevel=2)
                continue
            chosen = all(getattr(cell, key) == value for key, value in selectors.items())
            if chosen and fnmatchcase(asset, f"{group}.{name or '*'}"):
                found.append(self._leaf(asset, cell, self._standing(path)))
        return found

    # ---- reading ----------------------------------------------------------------------------------------------

    def scan(self, asset: str, cell: Cell) -> pl.LazyFrame:
        """The leaf as a lazy frame over verified bytes; a later commit does not change what it reads.

        Raises:
            MissingArtifactError: If it has not been made.
            IntegrityError: If the file is not what was written; names the file.
        """
        return self.load(asset, cell)[1]

    def read(self, asset: str, cell: Cell) -> pl.DataFrame:
        """The leaf as a data frame; raises as ``scan`` does."""
        return self.scan(asset, cell).collect()

    def load(self, asset: str, cell: Cell) -> tuple[Leaf, pl.LazyFrame]:
        """The leaf and its lazy frame, of one and the same version; raises as ``scan`` does."""
        pinned, written = self._verified(asset, cell)
        read = Input(asset, cell.path, written.content)
        if (reads := _READS.get()) is not None:
            reads.append(read)
        self.on_load(read)
        return self._leaf(asset, cell, written), pl.scan_parquet(pinned, hive_partitioning=False, glob=False)

    def footer(self, asset: str, cell: Cell) -> dict[str, str]:
        """Provenance and attributes from the verified file's footer; structured values are JSON."""
        pinned, _ = self._verified(asset, cell)
        entries = pq.read_metadata(pinned).metadata or {}
        texts = {key.decode(): value.decode() for key, value in entries.items()}
        return {key.removeprefix(PREFIX): value for key, value in texts.items() if key.startswith(PREFIX)}

    def digest(self, asset: str, cell: Cell) -> str:
        """The content digest: equal data give an equal digest, whatever run wrote them."""
        if not self.exists(asset, cell):
            raise self._missing(asset, cell)
        standing = self._standing(self.path(asset, cell))
        return standing.content if standing else self._verified(asset, cell)[1].content

    def verify(self, leaf: Leaf, at: UPath | None = None) -> None:
        """Reads the whole file, or its second name ``at``.

        Raises:
            IntegrityError: If it is not what was written; names the file.
        """
        self._verified(leaf.asset, leaf.cell, at)

    @contextmanager
    def reading(self) -> Iterator[list[Input]]:
        """Collects what is loaded inside the block, with digests."""
        reads: list[Input] = []
        token = _READS.set(reads)
        try:
            yield reads
        finally:
            _READS.reset(token)

    # ---- writing ----------------------------------------------------------------------------------------------

    def write(
        self,
        asset: str,
        cell: Cell,
        table: Rows | Callable[[], Rows],
        *,
        provenance: Mapping[str, Any] | None = None,
        attributes: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Leaf:
        """Checks and commits one leaf; until the very end the one that stands is untouched.

        Args:
            asset: ``group.name``.
            cell: Its coordinates.
            table: The rows. A LazyFrame is streamed. A callable is evaluated while the leaf's lock is held, and
                what it loads is named among the inputs.
            provenance: For the footer: run_id, code_version, config, inputs.
            attributes: Further footer entries, such as system or device.
            progress: Hears of the rows written.

        Raises:
            SchemaError: If the table breaks the asset's schema.
            LockedError: If another writer holds the leaf longer than ``lock_timeout``.
            WeftError: If the file cannot be written (full disk), or the rows cannot be made (a damaged source).
        """
        path, provenance = self.path(asset, cell), provenance or {}
        with self._locked(path, str(provenance.get("run_id", ""))), self._writable(path), _readable(asset):
            staged = self.place.stage(path)
            try:
                with self.reading() as reads:
                    made = table() if callable(table) else table
                entries = footer(asset, cell, provenance, attributes or {}, reads)
                written = parquet.write(staged, made, asset=asset, footer=entries, progress=progress)
                self._commit(path, staged, written)
                self._history.prune(path)
            finally:
                staged.unlink(missing_ok=True)
        return self._leaf(asset, cell, written)

    def history(self, asset: str, cell: Cell) -> list[Version]:
        """The versions before the present one, newest first; those equal to it are left out."""
        path = self.path(asset, cell)
        standing = self._standing(path)
        return [version for version in self._history.of(path) if not standing or version.sha256 != standing.sha256]

    def verify_version(self, version: Version) -> None:
        """Reads an earlier version whole; raises ``IntegrityError`` if it is not what was written."""
        self._history.verify(version)

    def rollback(self, asset: str, cell: Cell, version: Version | None = None) -> Leaf:
        """Puts the version before back, or the one given; once more goes one further back.

        What stood is kept among the versions as undone, so that giving it undoes the rollback.

        Raises:
            MissingArtifactError: If there is none.
            IntegrityError: If the version's file is not what was written.
        """
        path = self.path(asset, cell)
        with self._locked(path), self._writable(path):
            chosen = version or next((kept for kept in self.history(asset, cell) if not kept.undone), None)
            if chosen is None:
                raise MissingArtifactError(f"{asset} of {cell.path} has no earlier version", "make it again instead")
            staged = self.place.stage(path)
            try:
                written = self._history.fetch(chosen, staged)
                self._commit(path, staged, written, undone=not chosen.undone)
            finally:
                staged.unlink(missing_ok=True)
            self._history.forget(chosen)
            self._history.prune(path)
        return self._leaf(asset, cell, written)

    # ---- the parts of a commit --------------------------------------------------------------------------------

    def _commit(self, path: UPath, staged: Path, written: Written, *, undone: bool = False) -> None:
        standing = self._standing(path)
        if standing and standing.content != written.content:
            standing = self._standing(path, by_bytes=True)  # a broken file is not worth keeping
            if standing:
                self._history.keep(path, standing, undone=undone)
        self._name(path, {"standing": standing, "incoming": written})
        self.place.put(staged, path)
        with suppress(OSError):  # both are named already: a reader finds its digest either way
            self._name(path, {"standing": written})

    def _name(self, path: UPath, digests: Mapping[str, Written | None]) -> None:
        sidecar = _sidecar(path)
        staged = self.place.stage(sidecar)
        named = {name: asdict(written) for name, written in digests.items() if written}
        staged.write_text(json.dumps(named), encoding="utf-8")
        self.place.put(staged, sidecar)

    def _named(self, path: UPath) -> dict[str, Written]:
        """What the file of digests says; empty where there is none.

        Raises:
            IntegrityError: If it cannot be read.
        """
        sidecar = _sidecar(path)
        try:
            return {name: Written(**digests) for name, digests in json.loads(sidecar.read_bytes()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise IntegrityError(f"{sidecar} does not hold digests", _remedy(*self.locate(path))) from error

    def _standing(self, path: UPath, *, by_bytes: bool = False) -> Written | None:
        """What stands at ``path`` by its file of digests; the bytes decide too where a crash left two digests."""
        try:
            named = self._named(path)
        except IntegrityError:
            return None
        if "incoming" not in named and not by_bytes:
            return named.get("standing")
        with suppress(FileNotFoundError):
            found = parquet.sha256(self.place.pin(path))
            return next((written for written in named.values() if written.sha256 == found), None)
        return None

    def _verified(self, asset: str, cell: Cell, at: UPath | None = None) -> tuple[Path, Written]:
        """A pinned file whose SHA-256 is one that was named for it."""
        path = self.path(asset, cell)
        try:
            return self._compared(path, at or path, asset, cell)
        except self.place.errors as error:
            raise WeftError(
                f"cannot read {path}: {_in_a_line(error)}", "see that the storage can be reached, and run again"
            ) from error

    def _compared(self, path: UPath, at: UPath, asset: str, cell: Cell) -> tuple[Path, Written]:
        named, before = self._named(path), None
        while named != before:  # a writer may have replaced the file between its digests and its bytes
            try:
                pinned = self.place.pin(at)
            except FileNotFoundError:
                raise self._missing(asset, cell) from None
            found = parquet.sha256(pinned)
            before, named = named, self._named(path)
            for written in (*before.values(), *named.values()):
                if written.sha256 == found:
                    return pinned, written
        known = " or ".join(written.sha256[:12] for written in named.values()) or "none on record"
        raise IntegrityError(
            f"{path} is not what was written: SHA-256 {found[:12]}…, expected {known}", _remedy(asset, cell)
        )

    def _leaf(self, asset: str, cell: Cell, written: Written | None) -> Leaf:
        path = self.path(asset, cell)
        if written is None:
            return Leaf(asset, cell, path, "", 0, path.stat().st_size)
        return Leaf(asset, cell, path, written.content, written.rows, written.bytes)

    def _missing(self, asset: str, cell: Cell) -> MissingArtifactError:
        return MissingArtifactError(f"{asset} has not been made for {cell.path}", f"materialise {asset} first")

    @contextmanager
    def _writable(self, path: UPath) -> Iterator[None]:
        """Tells an error of the file system or the service as what it is: nothing was replaced."""
        try:
            yield
        except self.place.errors as error:
            remedy = "free some space or permissions" if self.place.local else "see that the service can be reached"
            raise WeftError(
                f"cannot write {path}: {_in_a_line(error)}", f"{remedy}; what stood there stands"
            ) from error

    def _locked(self, path: UPath, run_id: str = "") -> Any:
        return locked(self.place.lock(path), str(path), run_id=run_id, timeout=self.lock_timeout)


def _sidecar(path: UPath) -> UPath:
    return path.with_name(f".{path.name}.digest")


def _in_a_line(error: Exception) -> str:
    told = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return told.splitlines()[0][:300]


def _remedy(asset: str, cell: Cell) -> str:
    return f"put the version before it back with `weft rollback {asset} --dataset {cell.dataset}`, or make it again"


@contextmanager
def _readable(asset: str) -> Iterator[None]:
    """Tells that a plan failed while it was streamed as an error of what it reads."""
    try:
        yield
    except PolarsError as error:
        raise WeftError(
            f"the rows of {asset} cannot be made: {_in_a_line(error)}",
            "look at the file that they come from (a CSV: a quote that is never closed?); what stood there stands",
        ) from error
