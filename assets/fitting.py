"""What a model's stages do for one cell, as plain functions: fit, rank, embed. No Dagster objects in here.

Everything that a later stage needs to know about a fit travels in the leaf's footer (``attributes``), so that a table
of weights can be loaded back years later without the run that made it.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from resources import weights
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.locks import locked
from weft.cells import Cell
from weft.data.sequences import Events, Queries
from weft.errors import RequestError, WeftError
from weft.evaluation import pairs
from weft.evaluation.protocols import Protocol, seen_in_training, tied_time, warm_pairs
from weft.models.registry import Entry
from weft.models.settings import ModelSettings
from weft.progress import Progress
from weft.schemas import TrainingHistory
from weft.training.runtime import Runtime

if TYPE_CHECKING:
    from weft.evaluation.pairs import PairScorer
    from weft.evaluation.ranking import Scorer
    from weft.models.base import Model

Attributes = dict[str, str]

HELD: tuple[Literal["validation"], Literal["test"]] = ("validation", "test")

_CARRIED = (
    "system", "protocol_digest", "splits_digest", "n_items", "config_digest", "settings", "device", "seconds_fit",
    "peak_mb", "parameters",
)  # fmt: skip
"""What every leaf that comes from a fit says about that fit."""


def digest(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Material:
    """What one cell is made from: the splits of its protocol, and the sizes of the data set.

    ``negatives`` are there where the protocol ranks among drawn items; a fit never sees them.
    """

    protocol: Protocol
    splits: pl.DataFrame
    splits_digest: str
    n_users: int
    n_items: int
    negatives: pl.DataFrame | None = None

    @property
    def attributes(self) -> Attributes:
        """What every leaf that is made from it says about it; ``is_current`` reads it."""
        return {
            "protocol_digest": self.protocol.digest,
            "splits_digest": self.splits_digest,
            "n_items": str(self.n_items),
        }

    @property
    def events(self) -> Events:
        """The training split."""
        return self.protocol.events(self.splits, self.n_users, self.n_items)

    @property
    def histories(self) -> Queries:
        """One query per user with a (liked) training event: what comes after all of them?"""
        events = self.events.positives
        users = np.unique(events.user)
        counts = np.diff(events.offsets)[users]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        last = None if events.timestamp is None else events.timestamp[offsets[1:] - 1]
        return Queries(users.astype(np.int64), users, last, events.item, offsets)


@dataclass(frozen=True)
class Fitted:
    """A finished fit: schema ``Weights``, schema ``TrainingHistory``, and what the footer says about it."""

    weights: pl.DataFrame
    history: pl.DataFrame
    attributes: Attributes


def fit(entry: Entry, settings: ModelSettings, material: Material, runtime: Runtime, device: str) -> Fitted:
    """Fits one model on one cell; a fit that was finished but not committed (``runtime.work``) is taken as it is.

    Raises:
        RequestError: If nothing that it could learn from was liked.
    """
    if runtime.work is not None and (found := _finished(runtime.work)):
        return found
    started = begun(runtime)
    model, events = entry.build(settings), material.events
    if events.label is not None and not events.label.any():
        name = material.protocol.name
        raise RequestError(
            f"protocol {name!r}: no training row is liked, its threshold does not fit the ratings",
            f"set it under protocols.{name} in the YAML of the data set (docs/protocols.md)",
        )
    validation = material.protocol.task(material.splits, "validation", material.n_items)
    history = model.fit(events, validation if len(validation.queries) else None, runtime)
    tensors = model.tensors()
    fitted = Fitted(
        weights=weights.to_table(tensors),
        history=history,
        attributes={
            "system": entry.name,
            **material.attributes,
            "settings": settings.model_dump_json(),
            "config_digest": digest(settings.model_dump(mode="json")),
            "device": device,
            "seconds_fit": f"{time.monotonic() - started:.2f}",
            "peak_mb": f"{_peak_mb():.0f}",
            "parameters": str(sum(array.size for array in tensors.values())),
        },
    )
    if runtime.work is not None:
        _finish(runtime.work, fitted)
    return fitted


def begun(runtime: Runtime) -> float:
    """When a fit that begins or goes on now would have begun without its interruptions; by ``time.monotonic``."""
    from weft.training.checkpoint import seconds_before  # noqa: PLC0415 - imports torch

    return time.monotonic() - seconds_before(runtime.work)


def _peak_mb() -> float:
    """Highest resident size of this process so far, in MB (getrusage counts kilobytes on Linux, bytes on a Mac)."""
    import resource  # noqa: PLC0415 - Unix only

    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def load(entry: Entry, store: ArtifactStore, cell: Cell, accelerator: Accelerator) -> "tuple[Model, Attributes]":
    """The fitted model back from its table and the settings in its footer, on the device that it can use.

    Returns:
        The model, and what the footer says about the fit; ``device`` is where the model computes now.

    Raises:
        MissingArtifactError: If it has not been fitted.
        WeftError: If the data have changed since.
    """
    asset = f"{entry.group}.{entry.name}"
    tensors = weights.from_table(store.read(asset, cell))
    footer = store.footer(asset, cell)
    if not is_current(store, cell, footer):
        raise WeftError(
            f"{asset} of {cell.path} was fitted on other data than stand in storage now",
            f"fit it again: weft run --dataset {cell.dataset} --systems {entry.name}",
        )
    settings = entry.settings.model_validate_json(footer["settings"])
    model = entry.load_class().load(settings, tensors)
    device = accelerator.name(model.to(accelerator.torch_device()))
    return model, {**{name: footer.get(name, "") for name in _CARRIED}, "device": device}


def is_current(store: ArtifactStore, cell: Cell, footer: Mapping[str, str]) -> bool:
    """Whether a leaf with this footer was made from the splits and the catalogue that stand in storage now.

    True where storage holds no splits: then there is nothing that it could be older than.
    """
    splits, data = cell.of_protocol(), cell.of_dataset()
    if not store.exists("interactions.splits", splits):
        return True
    if footer.get("splits_digest") != store.digest("interactions.splits", splits):
        return False
    if not store.exists("interactions.items", data):
        return True
    return footer.get("n_items") == str(store.load("interactions.items", data)[0].rows)


def lacks(entry: Entry, material: Material) -> str:
    """What the model needs and the cell does not have; empty where it can work."""
    if material.protocol.kind not in entry.kinds:
        return f"a {' or '.join(entry.kinds)} protocol"
    if entry.needs_times and material.splits["timestamp"].null_count():
        return "timestamps"
    return ""


def rank(score: "Scorer", system: str, material: Material, progress: Progress) -> pl.DataFrame:
    """Rankings of the validation and the test queries of one cell (schema ``Rankings``)."""
    from weft.evaluation import ranking  # noqa: PLC0415 - imports torch

    warm = seen_in_training(material.events)
    return pl.concat(
        ranking.rank(
            score,
            material.protocol.task(material.splits, split, material.n_items, material.negatives),
            system=system,
            seen_in_training=warm,
            tied_time=tied_time(material.splits, split),
            progress=progress,
        )
        for split in HELD
    )


def score_pairs(scorer: "PairScorer", system: str, material: Material) -> pl.DataFrame:
    """Scores of the labelled pairs of validation and test of one cell (schema ``ScoredPairs``)."""
    rule, events = material.protocol, material.events
    tasks = [rule.task(material.splits, split, material.n_items) for split in HELD]
    return pl.concat(pairs.scored_pairs(scorer, task, system=system, warm=warm_pairs(events, task)) for task in tasks)


def item_embeddings(model: "Model") -> pl.DataFrame:
    """``item`` and its vector, for the whole catalogue."""
    vectors = model.item_vectors()
    if vectors is None:
        raise TypeError(f"{type(model).__name__} has no item vectors")
    return _vectors("item", np.arange(1, len(vectors), dtype=np.int32), vectors[1:])


def user_embeddings(model: "Model", material: Material) -> pl.DataFrame:
    """``user`` and the state after their training history; users without one are left out."""
    histories = material.histories
    vectors = model.query_vectors(histories)
    if vectors is None:
        raise TypeError(f"{type(model).__name__} has no query vectors")
    return _vectors("user", histories.user, vectors)


def _vectors(key: str, ids: np.ndarray, vectors: np.ndarray) -> pl.DataFrame:
    width = vectors.shape[1]
    return pl.DataFrame(
        {key: ids.astype(np.int32), "vector": pl.Series(vectors.astype(np.float32), dtype=pl.Array(pl.Float32, width))}
    )


def work_folder(
    store: ArtifactStore,
    asset: str,
    cell: Cell,
    settings: ModelSettings,
    material: Material,
    computes: tuple[str, str],
    version: str,
    log: Callable[[str], object],
) -> Path:
    """Where the fit of exactly these settings, data and code version on this device keeps its resume state.

    Args:
        store: Whose folder of unfinished work it lies in.
        asset: What is fitted.
        cell: For which cell.
        settings: With which settings.
        material: On what.
        computes: Device and precision.
        version: Of the code.
        log: Is told when a fit that was begun starts over.
    """
    data = {**material.attributes, "n_users": material.n_users}
    return work_of(store, asset, cell, [settings.model_dump(mode="json"), data, computes, version], log)


def work_of(store: ArtifactStore, asset: str, cell: Cell, made_from: list[Any], log: Callable[[str], object]) -> Path:
    """The same, of anything that a fit is made from.

    State of the same asset and cell that was left under anything else is of no use any more: it is deleted.
    """
    home = store.work / digest([asset, cell.path])
    work = home / digest(made_from)
    others = [folder for folder in home.glob("*") if folder != work]
    for folder in others:
        shutil.rmtree(folder, ignore_errors=True)
    if others:
        log(f"{asset} {cell.path}: settings, data, device or code changed since it was begun: starting over")
    return work


@contextmanager
def alone(store: ArtifactStore, asset: str, cells: Iterable[Cell], run_id: str) -> Iterator[None]:
    """Holds the fits of these cells, from what is found in their work folders to what is forgotten there.

    Raises:
        LockedError: If another run fits one of them for longer than the store waits.
    """
    with ExitStack() as held:
        for cell in sorted(set(cells)):  # one order for everybody, so that no two wait for each other
            lock = store.place.lock(store.path(asset, cell).with_name("fit"))
            what = f"the fit of {asset} {cell.path}"
            held.enter_context(locked(lock, what, run_id=run_id, timeout=store.lock_timeout))
        yield


def forget(work: Path) -> None:
    """Deletes resume state once the artifact is committed."""
    shutil.rmtree(work, ignore_errors=True)
    with suppress(OSError):  # another fit's state is there
        work.parent.rmdir()


def _finish(work: Path, fitted: Fitted) -> None:
    """Keeps a finished fit, each file whole or not at all; the attributes come last and say that all are there."""
    work.mkdir(parents=True, exist_ok=True)
    for name, write in {
        "weights.parquet": fitted.weights.write_parquet,
        "history.parquet": fitted.history.write_parquet,
        "attributes.json": lambda staged: staged.write_text(json.dumps(fitted.attributes)),
    }.items():
        staged = work / f".{name}.{os.getpid()}.tmp"
        write(staged)
        staged.replace(work / name)


def _finished(work: Path) -> Fitted | None:
    if not (work / "attributes.json").is_file():
        return None
    attributes = json.loads((work / "attributes.json").read_text())
    history = pl.read_parquet(work / "history.parquet")
    return Fitted(pl.read_parquet(work / "weights.parquet"), TrainingHistory.cast(history), attributes)
