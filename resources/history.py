"""Versions of a leaf that are kept aside for rollback, outside the folders that readers glob.

``base/.history/group/name/dataset=…/<when it was replaced>-<SHA-256>.parquet``: the name alone says what the file
must hold. What a rollback left behind is ``….undone.parquet``: a further rollback passes over it. Locally a version
is a second name of the same bytes, so that keeping it costs no copy.
"""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from upath import UPath

from resources import parquet
from resources.parquet import Written
from resources.places import Place
from resources.provenance import PREFIX
from weft.errors import IntegrityError

UNDONE = ".undone"
STAMP = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Version:
    """One earlier version.

    Attributes:
        path: Its file.
        sha256: Of the whole file.
        replaced: When another version took its place (UTC).
        bytes: Size of the file.
        undone: A rollback left it behind.
    """

    path: UPath
    sha256: str
    replaced: datetime
    bytes: int
    undone: bool = False


class History:
    """The versions of all leaves of one place.

    Args:
        place: Where the artifacts lie.
        versions: Number of versions kept per leaf.
        bytes: Bytes that they may take together, per leaf.
    """

    def __init__(self, place: Place, *, versions: int, bytes: int) -> None:  # noqa: A002
        self._place, self._versions, self._bytes = place, versions, bytes

    def of(self, path: UPath) -> list[Version]:
        """All kept versions of the leaf at ``path``, newest first."""
        folder = self._folder(path)
        if not folder.exists():
            return []
        return sorted((_version(file) for file in folder.iterdir() if file.name.endswith(".parquet")),
                      key=lambda version: version.replaced, reverse=True)  # fmt: skip

    def keep(self, path: UPath, standing: Written, *, undone: bool = False) -> None:
        """Keeps what stands at ``path``, unless it alone is beyond the bounds."""
        twins = [version for version in self.of(path) if version.sha256 == standing.sha256]
        if self._versions and standing.bytes <= self._bytes:
            name = f"{datetime.now(UTC).strftime(STAMP)}-{standing.sha256}{UNDONE if undone else ''}.parquet"
            self._place.keep(path, self._folder(path) / name)
        for twin in twins:  # of a commit that ended half-way
            self.forget(twin)

    def prune(self, path: UPath) -> None:
        """Lets go of the oldest versions beyond the bounds."""
        total = 0
        for number, version in enumerate(self.of(path)):
            total += version.bytes
            if number >= self._versions or total > self._bytes:
                self.forget(version)

    def fetch(self, version: Version, staged: Path) -> Written:
        """Copies a version to ``staged``, verified.

        Raises:
            IntegrityError: If its bytes are not what was written.
        """
        shutil.copyfile(self._place.pin(version.path), staged)
        self.verify(version, staged)
        metadata = pq.read_metadata(staged)
        content = (metadata.metadata or {}).get(f"{PREFIX}content_digest".encode(), b"").decode()
        return Written(version.sha256, content, metadata.num_rows, version.bytes)

    def verify(self, version: Version, file: Path | None = None) -> None:
        """Raises ``IntegrityError`` if the bytes of the version are not what was written."""
        if parquet.sha256(file or self._place.pin(version.path)) != version.sha256:
            raise IntegrityError(f"{version.path} is not what was written", "delete it: it is an old version")

    def forget(self, version: Version) -> None:
        """Deletes one version."""
        version.path.unlink(missing_ok=True)

    def _folder(self, path: UPath) -> UPath:
        inside = str(path.parent).removeprefix(str(self._place.base)).strip("/")
        return self._place.base / ".history" / inside


def _version(file: UPath) -> Version:
    stamp, _, sha256 = file.name.removesuffix(".parquet").partition("-")
    replaced = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    return Version(file, sha256.removesuffix(UNDONE), replaced, file.stat().st_size, sha256.endswith(UNDONE))
