"""Opens a data set: one object with the same four tables, whatever the format is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

import polars as pl
import pooch
from polars.exceptions import PolarsError
from pydantic import ValidationError

from weft.data.archives import check_checksum, need_file, open_archive
from weft.data.formats import amazon
from weft.data.formats.book_crossing import BookCrossing
from weft.data.formats.cross_domain import CrossDomain
from weft.data.formats.movielens import MovieLens
from weft.data.formats.sequence import Sequences
from weft.data.formats.tabular import Tabular
from weft.data.images import Pictures, read_map
from weft.data.mapping import ColumnMapping
from weft.data.registry import DatasetSpec
from weft.data.storefront import Storefront, StorefrontSettings, simulate
from weft.errors import RequestError, SourceError
from weft.progress import Progress
from weft.schemas import RawImages


class Source(Protocol):
    """What a data set has to say."""

    def check(self) -> list[str]:
        """Looks at every file without reading it all. Returns notes: what cannot be done with these data.

        Raises:
            SourceError: If a file is missing, empty, unsafe, of the wrong kind or checksum, or lacks a column.
        """

    def interactions(self) -> pl.LazyFrame:
        """Schema ``RawInteractions``, in source order."""

    def items(self) -> pl.DataFrame:
        """Schema ``RawItems``, in source order; ``image`` names a picture wherever there is one."""

    def images(self, progress: Progress | None = None) -> pl.DataFrame:
        """Schema ``RawImages``: the pictures that items refer to, each read or with its problem."""

    def truth(self) -> pl.DataFrame | None:
        """Schema ``Truth`` for simulated data, else None."""


class Tables(Protocol):
    """What a format says about the files of one source."""

    def notes(self) -> list[str]:
        """What cannot be done with these data."""

    def interactions(self) -> pl.LazyFrame:
        """Schema ``RawInteractions``, in source order."""

    def items(self) -> pl.DataFrame:
        """Schema ``RawItems``, in source order."""


_FORMATS: dict[str, Callable[[Path, ColumnMapping], Tables]] = {
    "movielens": lambda path, _: MovieLens.find(open_archive(path)),
    "amazon": lambda path, _: amazon.find(path),
    "book-crossing": lambda path, _: BookCrossing.find(open_archive(path)),
    "sequence-tsv": Sequences.find,
    "cross-domain-tsv": lambda path, _: CrossDomain.find(path),
    "tabular": Tabular.find,
}
"""Each finds its files in a source, checks them without reading them all, and reads them when asked."""


def open_source(spec: DatasetSpec, downloads: Path | None = None) -> Source:
    """The source of ``spec``. Nothing is read or downloaded before the first call.

    Args:
        spec: The data set.
        downloads: Where a public download is kept; the user's cache folder by default.
    """
    return SimulatedSource(spec) if spec.format == "storefront" else FileSource(spec, downloads)


class FileSource:
    """Files on disk, or a public download."""

    def __init__(self, spec: DatasetSpec, downloads: Path | None) -> None:
        self._spec = spec
        self._downloads = downloads

    def check(self) -> list[str]:
        """Checks the checksum, the archive or tables, and the picture folder with its map."""
        notes = self._tables.notes()
        self._pictures, self._map  # noqa: B018  # opening them is the check
        return notes

    def interactions(self) -> pl.LazyFrame:
        """All events of the file."""
        try:
            return self._tables.interactions()
        except PolarsError as error:  # a reader looks at the file before it promises to read all of it
            raise SourceError(
                f"{self._spec.source} cannot be read: {str(error).splitlines()[0][:300]}",
                "correct the file (a CSV: a quote that is never closed? set mapping.quote to null if none is one)",
            ) from error

    def items(self) -> pl.DataFrame:
        """All items of the file, each with the name of its picture."""
        items = self._tables.items()
        return items if self._pictures is None else self._pictures.references(items, self._map)

    def images(self, progress: Progress | None = None) -> pl.DataFrame:
        """The pictures that items refer to."""
        if self._pictures is None:
            return RawImages.create_empty()
        references = self.items()["image"].drop_nulls().unique(maintain_order=True).to_list()
        return self._pictures.decode(references, self._spec.image_side, progress)

    def truth(self) -> None:
        """Nobody knows."""

    @cached_property
    def _tables(self) -> Tables:
        return _FORMATS[self._spec.format](self._path(), self._spec.mapping)

    @cached_property
    def _pictures(self) -> Pictures | None:
        return Pictures.open(Path(self._spec.images)) if self._spec.images else None

    @cached_property
    def _map(self) -> pl.DataFrame | None:
        return read_map(Path(self._spec.image_map)) if self._spec.image_map else None

    def _path(self) -> Path:
        """The source on disk, downloaded if it is not there, with the right checksum."""
        spec = self._spec
        if spec.source is not None:
            path = Path(spec.source)
            need_file(path)
            if path.is_file():
                check_checksum(path, spec.checksum)
            return path
        if spec.url is None:
            raise SourceError(
                f"the files of {spec.name} are not downloaded by weft",
                f"get them and give them: --source PATH; they are {spec.origin}",
            )
        folder = self._downloads or pooch.os_cache("weft")
        name = spec.url.rsplit("/", 1)[-1]
        try:
            return Path(pooch.retrieve(spec.url, spec.checksum, fname=f"{spec.name}-{name}", path=folder))
        except ValueError as error:
            raise SourceError(
                f"{spec.url} has the wrong checksum: {error}", "try again, or give a local source"
            ) from error
        except OSError as error:
            raise SourceError(
                f"{spec.url} could not be downloaded: {type(error).__name__}",
                f"get the file by other means and give it: --source PATH (data set {spec.name})",
            ) from error


class SimulatedSource:
    """The storefront: the same settings give the same data, and their truth is known."""

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec

    def check(self) -> list[str]:
        """Checks the settings."""
        self._settings  # noqa: B018
        return []

    def interactions(self) -> pl.LazyFrame:
        """The shop's log, dirty rows included."""
        return self._shop.raw_interactions.lazy()

    def items(self) -> pl.DataFrame:
        """The shop's catalogue."""
        return self._shop.raw_items

    def images(self, progress: Progress | None = None) -> pl.DataFrame:
        """The drawn covers."""
        del progress
        return self._shop.raw_images

    def truth(self) -> pl.DataFrame:
        """The planted vectors."""
        return self._shop.truth

    @cached_property
    def _settings(self) -> StorefrontSettings:
        try:
            return StorefrontSettings(**self._spec.settings)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(["settings", *map(str, first["loc"])])
            raise RequestError(f"data set {self._spec.name}, {place}: {first['msg']}") from error

    @cached_property
    def _shop(self) -> Storefront:
        return simulate(self._settings)
