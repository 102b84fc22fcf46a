"""What CIT-Rec's stages do for one cell: fit, open again, score. No Dagster objects in here."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets import fitting
from assets.cit_rec_material import (
    ADAPTER,
    PROJECTIONS,
    SYSTEM,
    Given,
    attributes,
    current,
    given,
    made_again,
    variant_of,
)
from resources import model_folders, weights
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.caches import generations
from resources.cells import Cells
from resources.language_model import LanguageModel
from resources.profiles import TextTask
from weft.cells import Cell
from weft.errors import WeftError
from weft.models.settings import ModelSettings
from weft.progress import Progress
from weft.schemas import ScoredPairs
from weft.systems.settings import PlainNetworkSettings
from weft.training.runtime import Runtime
from weft.tuning.settings import TuningSettings

if TYPE_CHECKING:
    from weft.language.local import LocalModel


@dataclass(frozen=True)
class Tuned(fitting.Fitted):
    """A finished fit; ``weights`` are the projections, or the plain network, and ``adapter`` a PEFT folder."""

    adapter: pl.DataFrame | None = None


def fit(of: Given, settings: ModelSettings, model: "LocalModel | None", runtime: Runtime, device: str) -> Tuned:
    """Tunes ``model``; without one, fits the plain network."""
    started = fitting.begun(runtime)
    if model is None:
        tensors, history, folder = *_fit_plain(of, settings, runtime), None
    else:
        tensors, history, folder = _tune(of, settings, model, runtime)
    learnt = [*tensors.values(), *([] if folder is None else weights.from_table(_tensors_of(folder)).values())]
    told = attributes(
        of,
        settings,
        device,
        seconds_fit=f"{time.monotonic() - started:.2f}",
        parameters=str(sum(array.size for array in learnt)),
        language_model="" if model is None else model.identity.model,
    )
    return Tuned(weights.to_table(tensors), history, told, folder)


def _tune(
    of: Given, settings: ModelSettings, model: "LocalModel", runtime: Runtime
) -> tuple[dict[str, NDArray[np.generic]], pl.DataFrame, pl.DataFrame]:
    from weft.systems import cit_rec  # noqa: PLC0415 - imports torch
    from weft.tuning import adapter  # noqa: PLC0415 - imports torch

    tokens, history = cit_rec.fit(model, of.prompts, of.vectors, TuningSettings.model_validate(settings), runtime)
    with tempfile.TemporaryDirectory() as folder:
        adapter.to_folder(model, Path(folder))
        return {} if tokens is None else tokens.tensors(), history, model_folders.to_table(Path(folder))


def _fit_plain(
    of: Given, settings: ModelSettings, runtime: Runtime
) -> tuple[dict[str, NDArray[np.generic]], pl.DataFrame]:
    from weft.systems import plain_network  # noqa: PLC0415 - imports torch

    train, held = (of.prompts.filter(split=split) for split in ("train", "validation"))
    rows = (*of.pairs(train), train["label"].to_numpy())
    judged = (*of.pairs(held), held["label"].to_numpy())
    network, history = plain_network.train(*rows, judged, PlainNetworkSettings.model_validate(settings), runtime)
    return network.tensors(), history


def _tensors_of(folder: pl.DataFrame) -> pl.DataFrame:
    return folder.filter(~pl.col("tensor").str.starts_with(model_folders.FILE))


@dataclass(frozen=True)
class Scorer:
    """Scores the held-out rows of cells with what was fitted for them.

    Attributes:
        store: Where it stands.
        cells: Of the run.
        language_model: Opens the model.
        accelerator: Where it computes.
        progress: Sees answers come.
    """

    store: ArtifactStore
    cells: Cells
    language_model: LanguageModel
    accelerator: Accelerator
    progress: Progress

    def score(self, cell: Cell) -> tuple[pl.DataFrame, fitting.Attributes]:
        """Scored pairs, or rankings, of validation and test, by the protocol's kind, and what the footer says of them.

        Raises:
            MissingArtifactError: If it has not been fitted.
            WeftError: If anything was made of other data than stand in storage now.
        """
        of = given(self.store, self.cells, cell)
        held = of.prompts.filter(pl.col("split") != "train")
        scored, seconds, told = self._scored(cell, of, held)
        table = (self._ranked if of.material.protocol.kind == "ranking" else _pairs)(of, held, scored)
        return table, {**told, "seconds_score": f"{seconds:.4f}"}

    def _ranked(self, of: Given, held: pl.DataFrame, scored: NDArray[np.floating]) -> pl.DataFrame:
        """Schema ``Rankings``."""
        from weft.systems import candidates  # noqa: PLC0415 - imports torch

        pairs = held["row"].to_numpy(), held["item"].to_numpy(), scored
        return fitting.rank(candidates.scorer(*pairs, of.material.n_items), SYSTEM, of.material, self.progress)

    def _scored(self, cell: Cell, of: Given, held: pl.DataFrame) -> tuple[NDArray[np.floating], float, dict[str, str]]:
        """Scores, the seconds that they took, and what the footer says."""
        variant = variant_of(cell)
        if not variant.has("fit"):
            return self._asked(of, held)
        fitted = ADAPTER if variant.has("language_model") else PROJECTIONS
        current(self.store, fitted, cell)
        footer = self.store.footer(fitted, cell)
        carried = ("settings", "prompt_settings", "config_digest", "seconds_fit", "parameters", "language_model")
        told = {**attributes(of, None, self.accelerator.name()), **{name: footer[name] for name in carried}}
        if variant.has("language_model"):
            scores, seconds = self._tuned(cell, of, held)
        else:
            scores, seconds = self._plain(cell, of, held, footer["settings"])
        return scores, seconds, told

    def _tuned(self, cell: Cell, of: Given, held: pl.DataFrame) -> tuple[NDArray[np.floating], float]:
        from weft.systems import cit_rec  # noqa: PLC0415 - imports torch
        from weft.tuning.soft_tokens import SoftTokens  # noqa: PLC0415 - imports torch

        with tempfile.TemporaryDirectory() as folder:
            model_folders.to_folder(self.store.read(ADAPTER, cell), Path(folder))
            model = self.language_model.adapted(
                self.store, self.cells.models(), SYSTEM, self.accelerator.device, Path(folder)
            )
        tokens = None
        if of.vectors is not None:
            tensors = weights.from_table(self._projections(cell))
            tokens = SoftTokens.load(of.vectors.tables, model.width, tensors).to(model.model.device)
        started = time.monotonic()
        scores = cit_rec.score(model, held, of.vectors, tokens, self.progress)
        return scores, time.monotonic() - started

    def _projections(self, cell: Cell) -> pl.DataFrame:
        """The maps that were trained with the adapter: a run that was killed may have left those of another fit."""
        maps = current(self.store, PROJECTIONS, cell)
        fits = {self.store.footer(asset, cell)["config_digest"] for asset in (ADAPTER, PROJECTIONS)}
        if len(fits) > 1:
            raise WeftError(f"{ADAPTER} and {PROJECTIONS} of {cell.path} are of two fits", made_again(cell))
        return maps

    def _plain(self, cell: Cell, of: Given, held: pl.DataFrame, settings: str) -> tuple[NDArray[np.floating], float]:
        from weft.systems.plain_network import PlainNetwork  # noqa: PLC0415 - imports torch

        users, items = of.pairs(held)
        tensors = weights.from_table(self.store.read(PROJECTIONS, cell))
        network = PlainNetwork.load(
            users.shape[1], items.shape[1], PlainNetworkSettings.model_validate_json(settings), tensors
        )
        started = time.monotonic()
        return network.score(users, items), time.monotonic() - started

    def _asked(self, of: Given, held: pl.DataFrame) -> tuple[NDArray[np.floating], float, dict[str, str]]:
        from weft.language.generation import generate  # noqa: PLC0415 - slow to import
        from weft.systems import zero_shot  # noqa: PLC0415 - with it

        profile = self.cells.models()
        spec = profile.tuning[SYSTEM]
        task = TextTask(model=spec.model, prompt=spec.prompt, sampling=spec.sampling)
        writer = self.language_model.writer(self.store, profile, task, self.accelerator.device)
        asked = held.select("row", "prompt_version", "messages")
        table, tally = generate(
            asked, writer, task.sampling, generations(self.store), parse=zero_shot.parse, attempts=1,
            progress=self.progress,
        )  # fmt: skip
        if 0 < tally.questions == tally.failed:
            what = f"{writer.identity.model} answered none of {tally.questions} questions: {table['error'][0]}"
            raise WeftError(what, "see that it can be reached, and run again")
        unread = {"questions": str(tally.questions), "unread": str(tally.failed + tally.malformed)}
        told = {"seconds_fit": "0", "parameters": "0", "language_model": writer.identity.model, **unread}
        # An answer's seconds are those of the call that wrote it, whenever that was.
        seconds = float(table.unique("digest")["seconds"].to_numpy().sum())
        return zero_shot.score(table), seconds, attributes(of, None, self.accelerator.name(), **told)


def _pairs(of: Given, held: pl.DataFrame, scored: NDArray[np.floating]) -> pl.DataFrame:
    """Schema ``ScoredPairs``."""
    train = of.material.splits.filter(split="train")
    warm = pl.col("user").is_in(train["user"].implode()) & pl.col("item").is_in(train["item"].implode())
    table = held.select(
        pl.lit(SYSTEM).alias("system"), "split", "row", "user", "item", "label",
        score=pl.Series(scored.astype(np.float32)), warm=warm,
    )  # fmt: skip
    return ScoredPairs.cast(table)
