"""Data sets by name: where each one lives and how its columns are called, as YAML that a person can read and edit.

``storage/datasets/NAME.yaml`` is all that a run knows about a data set, so that a run from the web page or the nightly
schedule finds what the command line found. Not here: reading the data (``sources.py``).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from upath import UPath

from weft.cells import check_key, is_key
from weft.data.archives import open_archive
from weft.data.formats import amazon, book_crossing, cross_domain
from weft.data.mapping import TABLE_ENDINGS, ColumnMapping
from weft.data.rules import CleaningRules
from weft.errors import RequestError, SourceError, WeftError
from weft.evaluation.protocols import protocol

_LOG = logging.getLogger("weft")
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


_MOVIELENS_TERMS = (
    "Research use with acknowledgement (Harper and Konstan 2015, doi:10.1145/2827872); no redistribution and no "
    "commercial use without permission of GroupLens. The README inside the archive is authoritative."
)
_AMAZON_TERMS = (
    "Amazon product reviews 1996-2014, Beauty, 5-core (McAuley et al., SIGIR 2015; He and McAuley, WWW 2016). No "
    "licence is stated; the collection asks for citation. Research use."
)
_STARS = CleaningRules(rating_min=1, rating_max=5)
_HALF_STARS = CleaningRules(rating_min=0.5, rating_max=5)
_TOUCHED = CleaningRules(rating_min=1, rating_max=5, min_item_events=1)
"""Ratings of 1 to 5, and a catalogue of the items that somebody touched."""


def _movielens(edition: str, md5: str, rules: CleaningRules) -> DatasetSpec:
    """GroupLens publishes the MD5 beside each archive (``ml-1m.zip.md5``)."""
    return DatasetSpec(
        name=f"ml-{edition}",
        format="movielens",
        url=f"https://files.grouplens.org/datasets/movielens/ml-{edition}.zip",
        checksum=f"md5:{md5}",
        rules=rules,
        terms=_MOVIELENS_TERMS,
    )


BUILT_IN: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec(
            name="storefront", format="storefront", rules=_STARS, production=True, terms="Simulated; free to use."
        ),
        _movielens("100k", "0e33842e24a9c977be4e0107933c0723", _STARS),
        _movielens("1m", "c4d9eecfca2ab87c1945afe126590906", _STARS),
        _movielens("10m", "ce571fd55effeba0271552578f2648bd", _HALF_STARS),
        _movielens("20m", "cd245b17a1ae2cc31bb14903e1204af3", _HALF_STARS),
        _movielens("25m", "6b51fb2759a8657d3bfcbfc42b592ada", _HALF_STARS),
        _movielens("32m", "d472be332d4daa821edc399621853b57", _HALF_STARS),
        DatasetSpec(
            name="amazon-beauty",
            format="amazon",
            origin="https://jmcauley.ucsd.edu/data/amazon/ (reviews_Beauty_5.json.gz and meta_Beauty.json.gz)",
            rules=_TOUCHED,
            terms=_AMAZON_TERMS,
        ),
        DatasetSpec(
            name="amazon-beauty-sequences",
            format="sequence-tsv",
            origin="a folder with sequences.tsv.gz (columns user, asins) and meta.jsonl.gz (asin, title)",
            mapping=ColumnMapping.model_validate(
                {"interactions": {"user": "user", "item": "asins"}, "items": {"item": "asin", "title": "title"}}
            ),
            rules=_TOUCHED,
            terms=_AMAZON_TERMS,
        ),
        DatasetSpec(
            name="amazon-food-kitchen",
            format="cross-domain-tsv",
            origin="a folder with items.tsv.gz, train.tsv.gz, valid.tsv.gz and test.tsv.gz (Xin et al., LLMCDSR)",
            protocols={"predefined": {"targets": "last"}},
            terms="Sequences of LLMCDSR (Xin et al., ACM TOIS 2025) from Amazon product reviews 1996-2014 (McAuley et "
            "al., SIGIR 2015; He and McAuley, WWW 2016). No licence is stated. Research use.",
        ),
        DatasetSpec(
            name="book-crossing",
            format="book-crossing",
            origin="BX-CSV-Dump.zip of http://www2.informatik.uni-freiburg.de/~cziegler/BX/",
            rules=CleaningRules(rating_min=1, rating_max=10),
            terms="Freely available for research use when acknowledged (Ziegler, McNee, Konstan, Lausen, WWW 2005, "
            "doi:10.1145/1060745.1060754).",
        ),
    )
}
"""Data sets that are there from the start. Without a ``url`` one has to be given with ``--source``."""


def path_of(storage: str | UPath, name: str) -> UPath:
    """Where the YAML of ``name`` stands."""
    return UPath(storage) / "datasets" / f"{check_key(name, 'data set name')}.yaml"


def names(storage: str | UPath) -> list[str]:
    """Names of all registered data sets, sorted; files whose names are no keys are left out."""
    return [name for name in _stems(storage) if is_key(name)]


def _stems(storage: str | UPath) -> list[str]:
    folder = UPath(storage) / "datasets"
    return sorted(each.name.removesuffix(".yaml") for each in folder.glob("*.yaml")) if folder.exists() else []


def load(storage: str | UPath, name: str) -> DatasetSpec:
    """Reads one data set.

    Raises:
        RequestError: If the name is not registered, or its file does not hold what it should.
    """
    path = path_of(storage, name)
    if not path.exists():
        known = ", ".join(names(storage)) or "none"
        raise RequestError(f"there is no data set {name!r}", f"registered: {known}; add it with `weft datasets add`")
    content = read_yaml(path)
    return _validated({**content, "name": name}, str(path))


def save(storage: str | UPath, spec: DatasetSpec) -> UPath:
    """Writes one data set, in one step where the storage is a local folder."""
    path = path_of(storage, spec.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    if path.protocol in ("", "file"):
        staged = Path(path.parent.path) / f".{spec.name}.{os.getpid()}.tmp"
        staged.write_text(text, encoding="utf-8")
        staged.replace(path.path)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def load_all(storage: str | UPath) -> dict[str, DatasetSpec]:
    """All registered data sets and the built-in ones; a file that cannot be used is left out with a warning."""
    specs = dict(BUILT_IN)
    for name in _stems(storage):
        try:
            specs[name] = load(storage, name)
        except WeftError as error:
            specs.pop(name, None)
            _LOG.warning("%s is left out: %s", UPath(storage) / "datasets" / f"{name}.yaml", error.culprit)
    return specs


def register_built_in(storage: str | UPath) -> list[str]:
    """Writes the built-in data sets that are not there yet; what a person has edited stays. Returns all names."""
    for spec in BUILT_IN.values():
        if not path_of(storage, spec.name).exists():
            save(storage, spec)
    return names(storage)


def specify(storage: str | UPath, name: str, **changes: Any) -> DatasetSpec:
    """The data set ``name`` as registered or built in, or a new one, with ``changes`` (None changes nothing).

    Paths become absolute, since a run may start in another folder. A ``mapping`` may be the path of a YAML file. A new
    data set without a format gets the one that its source looks like. With a new ``source`` the checksum of the old
    one no longer counts. Nothing is written: see ``save``.

    Raises:
        RequestError: If a setting is unknown or does not fit the others, or a new data set comes without a source.
        SourceError: If the source or the mapping file cannot be read.
    """
    registered = path_of(storage, name).exists()
    base = load(storage, name) if registered else BUILT_IN.get(name)
    changes = {key: value for key, value in changes.items() if value is not None}
    for key in ("source", "images", "image_map"):
        if key in changes:
            changes[key] = str(Path(changes[key]).expanduser().absolute())
    if base is None and not changes.keys() & {"source", "url", "format"}:
        raise RequestError(
            f"there is no data set {name!r}",
            f"choose from {', '.join(load_all(storage))}, or add it with --source PATH",
        )
    fields: dict[str, Any] = base.model_dump(exclude_defaults=True) if base else {"name": name}
    if base is None:
        fields["format"] = _looks_like(changes)
    if "source" in changes:
        fields.pop("checksum", None)
    if isinstance(changes.get("mapping"), str | Path):
        fields["mapping"] = read_mapping(Path(changes.pop("mapping")))
    return _validated(_merged(fields, changes), f"data set {name}")


def _looks_like(changes: Mapping[str, Any]) -> str:
    """Format of a source nobody named one for; what is not known by its files is tabular."""
    path = Path(changes.get("source", ""))
    if "format" in changes or "source" not in changes:
        return "tabular"
    if path.name.lower().endswith(TABLE_ENDINGS):
        return "amazon" if amazon.is_reviews(path) else "tabular"
    archive = open_archive(path)
    if archive.find("ratings.dat", "u.data") or (archive.find("ratings.csv") and archive.find("movies.csv")):
        return "movielens"
    if archive.find(book_crossing.RATINGS):
        return "book-crossing"
    if path.is_dir() and cross_domain.files_of(path):
        return "cross-domain-tsv"
    return "amazon" if path.is_dir() and amazon.reviews_in(path) else "tabular"


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``old`` with the leaves of ``new`` put in."""
    both = dict(old)
    for key, value in new.items():
        inside = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merged(both[key], value) if inside else value
    return both


def read_mapping(path: Path) -> dict[str, Any]:
    """A column mapping from YAML; the item file that it names becomes absolute, seen from the mapping's folder."""
    content = read_yaml(path)
    items = content.get("items")
    if isinstance(items, dict) and isinstance(items.get("file"), str):
        items["file"] = str((path.expanduser().absolute().parent / items["file"]).resolve())
    return content


def read_yaml(path: Path | UPath) -> dict[str, Any]:
    """A YAML file that holds a table of keys."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceError(
            f"{path} cannot be read as YAML: {' '.join(str(error).split())}", "correct the file"
        ) from error
    if not isinstance(content, dict):
        raise SourceError(f"{path} holds no keys", "write one 'key: value' per line")
    return content


def _validated(fields: dict[str, Any], where: str) -> DatasetSpec:
    try:
        return DatasetSpec(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestError(
            f"{where}: {place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error
