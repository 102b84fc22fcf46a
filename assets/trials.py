"""Trials: fits that choose the settings of models on the validation split of a data set.

What is chosen is written to the storage's ``tuned/<dataset>.yaml``, where every later fit finds it. A fit of this stage
is handed the training split and the validation task alone: the rows of the test split are dropped before.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import Field

from assets import baselines, fitting
from assets.baselines import SIZES, SPLITS, material
from assets.fitting import Material
from assets.partitions import DATASETS
from resources.accelerator import GPU_POOL, GPU_TAGS, Accelerator
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.locks import locked
from resources.storage import Leaves, ParquetStorage
from weft.cells import Cell
from weft.data.sequences import Events, Task
from weft.errors import RequestError, WeftError
from weft.models.registry import Entry, entry
from weft.models.settings import ModelSettings, resolve, stated
from weft.models.settings.search import Space, space_of
from weft.models.settings.tuned import keep, path_of
from weft.schemas import Trials

if TYPE_CHECKING:
    from weft.choosing.trials import Trial

CODE_VERSION = "1"
ASSET = "behaviour.trials"


class TrialsConfig(dg.Config):
    """What is tried."""

    systems: list[str] = Field(default=["sasrec"], description="Models whose settings are chosen, one after the other.")
    trials: int = Field(default=12, ge=1, le=10_000, description="Trials of each model, with those of before.")
    minutes: float | None = Field(default=None, gt=0, description="Minutes of each model after which none is begun.")
    settings: dict[str, Any] = Field(default={}, description="system.field: value, of fields that are not varied.")


def fixed_of(settings: Mapping[str, Any], system: str) -> dict[str, Any]:
    """Of ``system.field`` to value, the fields of one model."""
    return {path.split(".", 1)[1]: value for path, value in settings.items() if path.split(".", 1)[0] == system}


def searched(model: Entry, fixed: Mapping[str, Any]) -> Space:
    """The fields of a model that are varied, those that are fixed left out.

    Raises:
        RequestError: If there are none.
    """
    space = {name: values for name, values in space_of(model.settings).items() if name not in fixed}
    if not space:
        raise RequestError(f"{model.name} has no setting to vary", "leave it out, or fix fewer of its fields")
    return space


def held_apart(given: Material) -> tuple[Events, Task]:
    """The training events and the validation task, made of splits without the rows of the test split."""
    splits = given.splits.filter(pl.col("split") != "test")
    events = given.protocol.events(splits, given.n_users, given.n_items)
    return events, given.protocol.task(splits, "validation", given.n_items)


@dg.asset(
    key=ASSET.split("."),
    group_name="behaviour",
    deps=[SPLITS, *SIZES],
    partitions_def=DATASETS,
    pool=GPU_POOL,
    op_tags=GPU_TAGS,
    kinds={"parquet", "torch"},
    code_version=CODE_VERSION,
)
def trials(
    context: dg.AssetExecutionContext,
    config: TrialsConfig,
    cells: Cells,
    accelerator: Accelerator,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> Iterator[dg.Output[Leaves]]:
    """Settings that were tried on validation and what each came to: ``weft tune``. The best are kept for later fits."""
    store, dataset = io_manager.store, context.partition_key
    wanted = {Cell(dataset, cell.protocol, seed=cell.seed): cell for cell in cells.of(dataset)}
    made: Leaves = {}
    works = []
    with fitting.alone(store, ASSET, wanted, context.run_id):
        for leaf, cell in wanted.items():
            given = material(store, cells, cell)
            before = store.read(ASSET, leaf) if store.exists(ASSET, leaf) else Trials.create_empty()
            tables = [before.filter(~pl.col("system").is_in(config.systems))]
            for system in config.systems:
                fixed = fixed_of(config.settings, system)
                choice = _Choice(store, leaf, entry(system), fixed, given, accelerator, context.log)
                tables.append(choice.make(before, config, context.run_id))
                works.append(choice.work)
            made[leaf] = Trials.cast(pl.concat(tables).sort("system", "trial"))
        yield dg.Output(made, metadata={"trials": sum(len(table) for table in made.values())})
        for work in works:  # Dagster comes back here when the output is committed
            fitting.forget(work)


class _Choice:
    """The choice of one model's settings in one cell."""

    def __init__(
        self,
        store: ArtifactStore,
        leaf: Cell,
        model: Entry,
        fixed: dict[str, Any],
        given: Material,
        accelerator: Accelerator,
        log: dg.DagsterLogManager,
    ) -> None:
        if missing := fitting.lacks(model, given):
            raise RequestError(f"{model.name} needs {missing}: there is nothing to try for {leaf.path}", "leave it out")
        self._store, self._leaf, self._log = store, leaf, log
        self._model, self._fixed, self._given, self._accelerator = model, fixed, given, accelerator
        self._space = searched(model, fixed)
        unvaried = self._settings({}).model_dump(mode="json", exclude=set(self._space))
        space = {name: asdict(values) for name, values in self._space.items()}
        computes = [accelerator.name(), accelerator.precision, baselines.CODE_VERSION, CODE_VERSION]
        made_from = [space, unvaried, given.attributes, given.n_users, *computes]
        self._digest = fitting.digest(made_from)
        self.work = fitting.work_of(store, f"{ASSET}.{model.name}", leaf, made_from, log.warning)

    def _settings(self, varied: Mapping[str, Any]) -> ModelSettings:
        given = {**self._fixed, **varied}
        leaf = self._leaf
        return resolve(self._model.settings, self._model.name, leaf.dataset, given, leaf.protocol, self._store.base)

    def make(self, before: pl.DataFrame, config: TrialsConfig, run_id: str) -> pl.DataFrame:
        """Goes on with the study as far as the configuration says, and keeps the best settings."""
        from weft.choosing import trials as choosing  # noqa: PLC0415 - imports torch and optuna

        name, leaf = self._model.name, self._leaf
        train, validation = held_apart(self._given)
        study = choosing.Study(self._model, self._settings, self._space, train, validation, int(leaf.seed or 0))
        runtime = self._accelerator.runtime(study.seed, self.work / "fit", self._log)
        budget = choosing.Budget(config.trials, config.minutes)
        metric, _ = choosing.measure_of(validation)
        found = choosing.run(study, self._known(before), budget, runtime, self._write)
        best = choosing.best_of(found)
        if best is None:
            raise WeftError(f"no trial of {name} could be fitted: {found[-1].error}", "narrow the search with --set")
        settings = self._model.settings.model_validate_json(best.settings)
        chosen = stated(settings, name, leaf.dataset, str(leaf.protocol), self._store.base)
        path = path_of(self._store.base, leaf.dataset)
        # One file for all protocols of a data set: another run may be choosing under another one.
        with locked(self._store.place.lock(path), str(path), run_id=run_id, timeout=self._store.lock_timeout):
            keep(self._store.base, leaf.dataset, str(leaf.protocol), name, chosen)
        self._log.info("%s: trial %s of %s is kept in %s", name, best.trial, len(found), path)
        identity = {"system": name, "study": self._digest, "metric": metric}
        rows = [{**identity, **asdict(trial)} for trial in found]
        return Trials.cast(pl.DataFrame(rows, infer_schema_length=None).select(list(Trials.columns())))

    def _known(self, before: pl.DataFrame) -> "list[Trial]":
        """The trials that this study has: those of an interrupted run, else those of the artifact."""
        from weft.choosing.trials import Trial  # noqa: PLC0415 - imports torch and optuna

        same = before.filter(system=self._model.name, study=self._digest).sort("trial")
        rows = json.loads(self._file.read_text()) if self._file.exists() else same.to_dicts()
        return [Trial(**{field.name: row[field.name] for field in fields(Trial)}) for row in rows]

    def _write(self, found: "list[Trial]") -> None:
        """Keeps what was tried so far, whole or not at all; the last fit needs no resume state any more."""
        self.work.mkdir(parents=True, exist_ok=True)
        staged = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
        staged.write_text(json.dumps([asdict(trial) for trial in found]))
        staged.replace(self._file)
        fitting.forget(self.work / "fit")

    @property
    def _file(self) -> Path:
        return self.work / "trials.json"
