"""What a data set is: its format, its files, the rules for its rows, and what one may do with it."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from weft.cells import check_key
from weft.data.mapping import ColumnMapping
from weft.data.rules import CleaningRules
from weft.errors import RequestError
from weft.evaluation.protocols import protocol

_CHECKSUM = re.compile(r"^(sha256:[0-9a-fA-F]{64}|md5:[0-9a-fA-F]{32})$")


Format = Literal["storefront", "movielens", "amazon", "book-crossing", "sequence-tsv", "cross-domain-tsv", "tabular"]


class DatasetSpec(BaseModel):
    """One data set: its format, its files, the rules for its rows, and what one may do with it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Partition key: a-z, 0-9, '-', '_' and '.'.")
    format: Format = Field(description="How the source is read.")
    source: str | None = Field(None, description="File or folder; without it the data set is downloaded from `url`.")
    url: str | None = Field(None, description="Public download, used when there is no `source`.")
    origin: str = Field("", description="Where a person gets the files that weft may not or cannot download.")
    checksum: str | None = Field(
        None, description="'sha256:…' or 'md5:…' of the source file, or of the download where there is no source."
    )
    mapping: ColumnMapping = Field(default_factory=ColumnMapping, description="Column names (format tabular).")
    images: str | None = Field(None, description="Zip or folder of pictures, named by item id or by `image_map`.")
    image_map: str | None = Field(None, description="TSV or CSV with a header: item id, name of its picture.")
    image_side: int = Field(224, ge=16, le=2048, description="Pictures are shrunk until their shorter side has this.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of a simulated data set.")
    protocols: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Rules that this data set sets for a protocol, by protocol name."
    )
    rules: CleaningRules = Field(default_factory=CleaningRules, description="Which rows are refused.")
    production: bool = Field(False, description="Retrained and published every night.")
    terms: str = Field("", description="Terms of use.")

    @field_validator("name")
    @classmethod
    def _name_is_a_key(cls, name: str) -> str:
        return check_key(name, "data set name")

    @field_validator("protocols")
    @classmethod
    def _protocols_exist(cls, protocols: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, rules in protocols.items():
            try:
                protocol(name, rules)
            except RequestError as error:
                raise ValueError(str(error)) from error
        return protocols

    @field_validator("checksum")
    @classmethod
    def _checksum_names_its_algorithm(cls, checksum: str | None) -> str | None:
        if checksum is not None and not _CHECKSUM.match(checksum):
            raise ValueError("write 'sha256:' and 64 hexadecimal digits, or 'md5:' and 32")
        return checksum

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.format != "storefront" and not (self.source or self.url or self.origin):
            raise ValueError("give a source (file or folder) or a url")
        if self.format == "storefront" and (self.source or self.url):
            raise ValueError("the storefront is simulated and takes no source")
        return self

    @property
    def comes_split(self) -> bool:
        """Whether the source names its own train, validation and test parts."""
        return self.format == "cross-domain-tsv" or self.mapping.interactions.part is not None

    @property
    def has_times(self) -> bool:
        """False where the source is known to hold no times, so that what needs them can be refused before any work."""
        timeless = self.format in ("book-crossing", "sequence-tsv", "cross-domain-tsv")
        return not timeless and (self.format != "tabular" or self.mapping.interactions.timestamp is not None)

    @property
    def has_ratings(self) -> bool:
        """False where the source is known to hold no ratings; protocols with labels need them."""
        unrated = self.format in ("sequence-tsv", "cross-domain-tsv")
        return not unrated and (self.format != "tabular" or self.mapping.interactions.rating is not None)
