"""Files of a source, read from a folder or straight out of a zip or tar, without unpacking anything to disk.

An archive comes from elsewhere. It is refused as a whole, before a byte is used, when a member's name leaves the
archive (``..``, an absolute path, a drive letter), when a member is a link or a device, or when it would unpack to
more than it may. While reading, sizes are checked again: a header can lie.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

from weft.errors import SourceError

_DRIVE = re.compile(r"^[A-Za-z]:")
_UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to. The ratio counts for members over 1 MB: text packs 20 times, a bomb 1,000 times."""

    bytes: int = 64 * 2**30
    ratio: float = 200.0
    members: int = 2_000_000


class Archive(ABC):
    """Named files of one source. Names use ``/`` and are relative to ``path``."""

    def __init__(self, path: Path, sizes: Mapping[str, int]) -> None:
        self.path = path
        self.sizes = dict(sizes)

    @property
    def names(self) -> list[str]:
        """Names of all files, in the archive's order."""
        return list(self.sizes)

    def find(self, *basenames: str) -> str | None:
        """The first file (shallowest folder first) whose last part is one of ``basenames``, tried in that order."""
        by_depth = sorted(self.sizes, key=lambda name: name.count("/"))
        for wanted in basenames:
            for name in by_depth:
                if PurePosixPath(name).name == wanted:
                    return name
        return None

    def need(self, basename: str) -> str:
        """Like ``find``, for a file that must be there and not be empty."""
        name = self.find(basename)
        if name is None:
            raise SourceError(f"{self.path} holds no {basename}", f"files found: {', '.join(self.names[:8]) or 'none'}")
        if self.sizes[name] == 0:
            raise SourceError(f"{basename} in {self.path} is empty", "get the file again")
        return name

    def read(self, name: str) -> bytes:
        """The whole file ``name``.

        Raises:
            SourceError: If it is damaged, or holds more than the archive says.
        """
        try:
            return self._read(name)
        except _UNREADABLE as error:
            raise SourceError(f"{name} in {self.path} cannot be read: {error}", "get the file again") from error

    def head(self, name: str, size: int = 65_536) -> bytes:
        """The first ``size`` bytes of ``name``."""
        return self.read(name)[:size]

    @abstractmethod
    def _read(self, name: str) -> bytes: ...


class Folder(Archive):
    """A folder on disk. It is the user's own, so links in it are followed."""

    def __init__(self, path: Path) -> None:
        files = sorted(each for each in path.rglob("*") if each.is_file())
        super().__init__(path, {each.relative_to(path).as_posix(): each.stat().st_size for each in files})

    def _read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def head(self, name: str, size: int = 65_536) -> bytes:
        """The first ``size`` bytes of ``name``, reading no more than that."""
        with (self.path / name).open("rb") as stream:
            return stream.read(size)


class Zip(Archive):
    """A zip file; members are inflated one by one."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._zip = zipfile.ZipFile(path)
        sizes: dict[str, int] = {}
        for info in self._zip.infolist():
            _check_name(path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(path, f"{info.filename!r} is a link or a device")
            if info.flag_bits & 1:
                raise SourceError(f"{info.filename!r} in {path} is encrypted", "give an archive without a password")
            if info.file_size > 2**20 and info.file_size > limits.ratio * max(info.compress_size, 1):
                raise _unsafe(
                    path, f"{info.filename!r} unpacks to {info.file_size:,} bytes, over {limits.ratio:g} times its size"
                )
            if not info.is_dir():
                sizes[info.filename] = info.file_size
        _check_total(path, sizes, limits)
        super().__init__(path, sizes)

    def _read(self, name: str) -> bytes:
        return self._zip.read(name)  # never more than the size in the header, whose sum is bounded; checks the CRC

    def head(self, name: str, size: int = 65_536) -> bytes:
        """The first ``size`` bytes of ``name``, inflating no more than that."""
        try:
            with self._zip.open(name) as stream:
                return stream.read(size)
        except _UNREADABLE as error:
            raise SourceError(f"{name} in {self.path} cannot be read: {error}", "get the file again") from error


class Tar(Archive):
    """A tar file, plain or packed."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._tar = tarfile.open(path)  # noqa: SIM115  # kept open while members are read
        packed = max(path.stat().st_size, 1)
        sizes: dict[str, int] = {}
        total = 0
        for info in self._tar:  # one header at a time: a bomb is noticed before it is read to its end
            _check_name(path, info.name)
            if not (info.isreg() or info.isdir()):
                raise _unsafe(path, f"{info.name!r} is a link or a device")
            total += info.size
            if total > 2**20 and total > limits.ratio * packed:
                raise _unsafe(path, f"it unpacks to over {limits.ratio:g} times its size")
            if info.isreg():
                sizes[info.name] = info.size
                _check_total(path, {info.name: total}, limits)
            if len(sizes) > limits.members:
                raise _unsafe(path, f"it holds over {limits.members:,} files")
        super().__init__(path, sizes)

    def _read(self, name: str) -> bytes:
        stream = self._tar.extractfile(name)
        return b"" if stream is None else stream.read()


def open_archive(path: Path, limits: Limits | None = None) -> Archive:
    """Opens a folder, a zip or a tar.

    Raises:
        SourceError: If nothing is there, it is empty, it is neither, or it is unsafe.
    """
    limits = limits or Limits()
    if path.is_dir():
        return Folder(path)
    need_file(path)
    try:
        if zipfile.is_zipfile(path):
            return Zip(path, limits)
        if tarfile.is_tarfile(path):
            return Tar(path, limits)
    except _UNREADABLE as error:
        raise SourceError(f"{path} is damaged: {error}", "get the file again") from error
    raise SourceError(f"{path} is neither a folder nor a zip or tar archive", "give one of them")


def need_file(path: Path) -> Path:
    """Returns ``path`` if it is a file with something in it."""
    if not path.exists():
        raise SourceError(f"{path} does not exist", "check the path of the source")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{path} is empty", "get the file again")
    return path


def check_gzip(path: Path, limits: Limits | None = None) -> Path:
    """Reads a ``.gz`` file once, holding a megabyte at a time, and returns its path; other files are not touched.

    Raises:
        SourceError: If it is damaged or cut off, or unpacks to more than ``limits``.
    """
    if path.suffix.lower() != ".gz":
        return path
    limits = limits or Limits()
    bound = min(limits.bytes, max(2**20, int(limits.ratio * path.stat().st_size)))
    total = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(2**20):
                total += len(chunk)
                if total > bound:
                    raise _unsafe(path, f"it unpacks to over {bound:,} bytes")
    except _UNREADABLE as error:
        raise SourceError(f"{path} is damaged: {error}", "get the file again") from error
    return path


def open_text(path: Path) -> TextIO:
    """Opens a text file, plain or ``.gz``, without its byte order mark; bytes that are no UTF-8 become a mark."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="\n")
    return path.open(encoding="utf-8-sig", errors="replace", newline="\n")


def check_checksum(path: Path, checksum: str | None) -> None:
    """Compares a file with ``sha256:…`` or ``md5:…``.

    Raises:
        SourceError: If they differ.
    """
    if checksum is None:
        return
    algorithm, _, wanted = checksum.partition(":")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != wanted.lower():
        raise SourceError(
            f"{path} has the wrong checksum: {algorithm} {found}, expected {wanted}",
            "get the file again, or correct the checksum of the data set",
        )


def _check_name(path: Path, name: str) -> None:
    plain = name.replace("\\", "/")
    if plain.startswith("/") or _DRIVE.match(plain) or ".." in plain.split("/") or "\0" in plain:
        raise _unsafe(path, f"the name {name!r} leaves the archive")


def _check_total(path: Path, sizes: Mapping[str, int], limits: Limits) -> None:
    if sum(sizes.values()) > limits.bytes:
        raise _unsafe(path, f"it unpacks to over {limits.bytes:,} bytes")
    if len(sizes) > limits.members:
        raise _unsafe(path, f"it holds over {limits.members:,} files")


def _unsafe(path: Path, why: str) -> SourceError:
    return SourceError(
        f"{path} is refused: {why}", "use an archive that you trust, or unpack it yourself into a folder"
    )
