"""The data source: from the name of a data set to its raw tables. Not here: what is done with them (``assets/``)."""

import os
from pathlib import Path

import dagster as dg
import pooch
from pydantic import Field
from upath import UPath

from weft.data import registry
from weft.data.registry import DatasetSpec
from weft.data.sources import Source, open_source


class DataSource(dg.ConfigurableResource):
    """Reads ``datasets/NAME.yaml`` of the storage and nothing else, so that every run finds the same data."""

    base: str = Field(
        default="", description="Storage that holds datasets/; the environment variable WEFT_STORAGE by default."
    )

    def spec(self, dataset: str) -> DatasetSpec:
        """The data set as registered.

        Raises:
            RequestError: If it is not registered, or its file is wrong.
        """
        return registry.load(self._storage, dataset)

    def open(self, dataset: str) -> Source:
        """The raw tables of the data set; downloads are kept beside the artifacts."""
        storage = UPath(self._storage)
        local = storage.protocol in ("", "file")
        downloads = Path(storage.path) / ".cache" / "downloads" if local else Path(pooch.os_cache("weft"))
        return open_source(self.spec(dataset), downloads)

    @property
    def _storage(self) -> str:
        return self.base or os.environ.get("WEFT_STORAGE", "storage")
