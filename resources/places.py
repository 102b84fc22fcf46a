"""Where files lie: a local folder, or an object store behind any fsspec URL. Both commit in one step.

A local file is staged beside its destination and moved over it; an object is sent in one PUT. Readers get a
*pinned* file: a name of their own for the bytes they verified. A lazy plan opens its file again and again, and one
that is replaced between two openings makes Polars panic or mix two versions.
"""

import glob
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import psutil
from typing_extensions import override
from upath import UPath

DAY = 86_400.0


class Place(Protocol):
    """What the store needs of either."""

    base: UPath
    local: bool
    """Whether ``base`` is a folder that other programs can open."""
    work: Path
    """Local folder for resume state; hidden from readers."""
    errors: tuple[type[Exception], ...]
    """What is raised where the disk is full, or the service cannot be reached or refuses."""

    def lock(self, path: UPath) -> Path:
        """The local lock file that guards ``path``."""

    def stage(self, path: UPath) -> Path:
        """A new local file name to write before ``put``; sweeps what dead writers left there."""

    def put(self, staged: Path, path: UPath) -> None:
        """Makes ``staged`` the content of ``path`` in one step; durable when it returns."""

    def keep(self, path: UPath, aside: UPath) -> None:
        """Gives the present content of ``path`` a second name, ``aside``."""

    def pin(self, path: UPath) -> Path:
        """A local file with the content that ``path`` has now, whatever becomes of ``path``.

        Raises:
            FileNotFoundError: If there is no such file.
        """

    def freeze(self, paths: Iterable[UPath]) -> AbstractContextManager[str]:
        """A base below which the content that ``paths`` have now lies under the same names, for as long as it is open.

        Nothing is copied: for an object store, or where there are no hard links, it is the base itself.
        """

    def find(self, pattern: str) -> list[UPath]:
        """All files below ``base`` that match, sorted; those in hidden folders are left out."""


def place(base: str | UPath) -> Place:
    """The place that ``base`` names: a folder, or a URL such as ``s3://bucket/weft``."""
    where = UPath(base)
    if where.protocol in ("", "file", "local"):
        return Folder(UPath(Path(where.path).expanduser().resolve()))
    return ObjectStore(where)


class Folder(Place):
    """A folder of this machine (or one that is mounted)."""

    local = True
    errors = (OSError,)

    def __init__(self, base: UPath) -> None:
        self.base = base
        self.work = _local(base) / ".work"
        self._pins = _Pins(_local(base) / ".pins")

    @override
    def lock(self, path: UPath) -> Path:
        return _local(path).with_name(f".{path.name}.lock")

    @override
    def stage(self, path: UPath) -> Path:
        folder = _local(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        for stale in stale_staging(folder):
            stale.unlink(missing_ok=True)
        self._pins.sweep()
        return folder / f".{path.name.lstrip('.')}.{os.getpid()}.tmp"

    @override
    def put(self, staged: Path, path: UPath) -> None:
        _sync(staged)
        staged.replace(_local(path))
        _sync(staged.parent)

    @override
    def keep(self, path: UPath, aside: UPath) -> None:
        _local(aside).parent.mkdir(parents=True, exist_ok=True)
        _link(_local(path), _local(aside))

    @override
    def pin(self, path: UPath) -> Path:
        return self._pins.add(lambda new: _link(_local(path), new), lambda pinned: f"{pinned.stat().st_ino}.parquet")

    @override
    @contextmanager
    def freeze(self, paths: Iterable[UPath]) -> Iterator[str]:
        frozen = self._pins.folder() / uuid4().hex
        try:
            yield str(frozen if all(_linked(_local(path), _local(self.base), frozen) for path in paths) else self.base)
        finally:
            shutil.rmtree(frozen, ignore_errors=True)

    @override
    def find(self, pattern: str) -> list[UPath]:
        # Neither looks into hidden folders nor minds one that vanishes meanwhile, as pathlib's does.
        found = glob.glob(pattern, root_dir=str(self.base), recursive=True)  # noqa: PTH207 - for that reason
        return sorted(self.base / name for name in found)


class ObjectStore(Place):
    """Any fsspec file system that is not a local folder. Locks hold between the processes of this machine."""

    local = False

    def __init__(self, base: UPath) -> None:
        self.base = base
        self.errors = (OSError, *_service_errors(base.protocol))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.work = cache / "weft" / hashlib.sha256(str(base).encode()).hexdigest()[:16]
        self._pins = _Pins(self.work / "pins")

    @override
    def lock(self, path: UPath) -> Path:
        return self.work / "locks" / f"{_digest(path)}.lock"

    @override
    def stage(self, path: UPath) -> Path:
        folder = self.work / "staging"
        folder.mkdir(parents=True, exist_ok=True)
        for stale in stale_staging(folder):
            stale.unlink(missing_ok=True)
        self._pins.sweep()
        return folder / f".{_digest(path)}.{os.getpid()}.tmp"

    @override
    def put(self, staged: Path, path: UPath) -> None:
        path.fs.put_file(str(staged), path.path)
        staged.unlink()

    @override
    def keep(self, path: UPath, aside: UPath) -> None:
        path.fs.cp_file(path.path, aside.path)

    @override
    def pin(self, path: UPath) -> Path:
        return self._pins.add(lambda new: path.fs.get_file(path.path, str(new)), lambda _: f"{uuid4().hex}.parquet")

    @override
    def freeze(self, paths: Iterable[UPath]) -> AbstractContextManager[str]:
        return nullcontext(str(self.base))

    @override
    def find(self, pattern: str) -> list[UPath]:
        found = self.base.fs.glob(f"{self.base.path.rstrip('/')}/{pattern}")
        root = self.base.path.strip("/")
        names = (str(path).strip("/").removeprefix(root).strip("/") for path in found)
        return sorted((self.base / name for name in names if not _hidden(name)), key=str)


class _Pins:
    """Files that readers of this process hold, in a folder of its own that goes with the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self) -> Path:
        """This process's own."""
        mine = self._folder / f"{socket.gethostname()}.{os.getpid()}"
        if not mine.is_dir():
            mine.mkdir(parents=True, exist_ok=True)
            Finalize(None, shutil.rmtree, (mine, True), exitpriority=0)
        return mine

    def add(self, make: Callable[[Path], object], name: Callable[[Path], str]) -> Path:
        """Pins the file that ``make`` makes, under the ``name`` that its content gives it."""
        mine = self.folder()
        new = mine / f"{uuid4().hex}.tmp"
        try:
            make(new)
            pinned = mine / name(new)
            new.replace(pinned)  # nothing happens where both are names of one file already
        finally:
            new.unlink(missing_ok=True)
        return pinned

    def sweep(self) -> None:
        """Removes the pins of this machine's dead processes, and other machines' that were not used for a day."""
        for folder in self._folder.glob("*.*"):
            host, _, pid = folder.name.rpartition(".")
            here = host == socket.gethostname() and pid.isdecimal()
            if not psutil.pid_exists(int(pid)) if here else _age(folder) > DAY:
                shutil.rmtree(folder, ignore_errors=True)


def stale_staging(folder: Path) -> list[Path]:
    """Staged files whose writer is dead, or that are a day old: what a killed write leaves behind."""
    return [
        file
        for file in folder.glob(".*.*.tmp")
        if file.suffixes[-2][1:].isdigit() and (not psutil.pid_exists(int(file.suffixes[-2][1:])) or _age(file) > DAY)
    ]


def _service_errors(protocol: str) -> tuple[type[Exception], ...]:
    """What the client of an object store raises besides the OSError that fsspec asks of it."""
    if protocol not in ("s3", "s3a"):
        return ()
    client = import_module("botocore.exceptions")  # comes with s3fs, the extra 's3'
    return client.BotoCoreError, client.ClientError


def _local(path: UPath) -> Path:
    return Path(path.path)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # no hard links here
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as copy, source.open("rb") as file:
            shutil.copyfileobj(file, copy)
        Path(copy.name).replace(target)


def _linked(path: Path, base: Path, frozen: Path) -> bool:
    """Gives ``path`` the same name below ``frozen``; False where there are no hard links."""
    name = frozen / path.relative_to(base)
    name.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, name)
    except FileNotFoundError:  # deleted meanwhile
        return True
    except OSError:
        return False
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/")[:-1])


def _digest(path: UPath) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:32]
