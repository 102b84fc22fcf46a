"""``weft tune``: settings of models, chosen on validation; the same job as in the web UI."""

import json
from typing import Annotated, Any

import polars as pl
import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.trials import fixed_of, searched
from pipelines import jobs, runs
from pipelines.commands.options import Dataset, Storage, check_source, parse_pairs, use_storage
from pipelines.commands.run import check_protocols, explain
from pipelines.instance import open_instance
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data import registry
from weft.errors import RequestError
from weft.evaluation.protocols import PROTOCOLS, headline
from weft.models.registry import MODELS, Entry, entry
from weft.models.settings import resolve
from weft.models.settings.search import space_of
from weft.models.settings.tuned import path_of, tuned
from weft.reporting.labels import metric_label, number


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(tune)


def tune(
    dataset: Dataset = "storefront",
    systems: Annotated[str, typer.Option(help="Models by name, separated by commas; or baselines.")] = "sasrec",
    protocol: Annotated[str, typer.Option(help="What they are chosen for; else the headline.")] = "",
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Trials of each model, with those of before.")] = 12,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Of each model: after that none is begun.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the fits and of what is suggested.")] = 0,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Not varied: sasrec.width=64.")] = None,
    storage: Storage = None,
) -> None:
    """Chooses settings of models by trials on the validation split; later runs use them. Goes on where it stopped."""
    base = use_storage(storage)
    spec = registry.load(base, dataset)
    rule = protocol or headline(comes_split=spec.comes_split)
    check_protocols([rule], spec)
    fixed = parse_pairs(setting or [])
    models = _models(systems, spec, rule)
    _check(models, fixed, dataset, rule, base)
    check_source(base, spec)
    console = Console()
    with open_instance(base) as instance:
        succeeded, seen = runs.launch(
            jobs.tune, dataset, _config([model.name for model in models], rule, trials, minutes, seed, fixed), instance,
            console,
        )  # fmt: skip
    if not succeeded:
        explain(seen, console)
        raise typer.Exit(1)
    leaf = Cell(dataset, rule, seed=seed)
    for model in models:
        _show(ArtifactStore(base).read("behaviour.trials", leaf).filter(system=model.name), model, console)
    chosen = tuned(dataset, base)[rule]
    told = yaml.safe_dump({rule: {model.name: chosen[model.name] for model in models}}, sort_keys=False)
    console.print(told.rstrip(), markup=False, highlight=False, soft_wrap=True)
    console.print(f"kept: {path_of(base, dataset)}", highlight=False, soft_wrap=True)


def _models(text: str, spec: registry.DatasetSpec, rule: str) -> list[Entry]:
    """The models that are named; of a set of systems those that work under the protocol and have something to vary.

    Raises:
        RequestError: If a name is no model, or one that does not work under the protocol.
    """
    named, kind = runs.chosen_systems(text, spec), PROTOCOLS[rule].kind
    if text in runs.SETS:
        models = [MODELS[name] for name in named if name in MODELS]
        return [model for model in models if kind in model.kinds and space_of(model.settings)]
    models = [entry(name) for name in named]
    for model in models:
        if kind not in model.kinds:
            raise RequestError(f"{model.name} needs a {' or '.join(model.kinds)} protocol", "name one: --protocol …")
    return models


def _check(models: list[Entry], fixed: dict[str, Any], dataset: str, rule: str, base: str) -> None:
    names = [model.name for model in models]
    if strays := [path for path in fixed if path.split(".")[0] not in names or path.count(".") != 1]:
        raise RequestError(f"--set {strays[0]}: no setting of what is tried", f"models: {', '.join(names)}")
    for model in models:
        own = fixed_of(fixed, model.name)
        resolve(model.settings, model.name, dataset, own, rule, base)
        searched(model, own)


def _config(
    systems: list[str], rule: str, trials: int, minutes: float | None, seed: int, fixed: dict[str, Any]
) -> dict[str, Any]:
    tried = {"systems": systems, "trials": trials, "settings": fixed}
    return {
        "ops": {"behaviour__trials": {"config": tried | ({} if minutes is None else {"minutes": minutes})}},
        "resources": {"cells": {"config": {"protocols": [rule], "seeds": [seed]}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},  # the follower shows what matters
    }


def _show(found: pl.DataFrame, model: Entry, console: Console) -> None:
    """The trials of one model, the best first: its value, and what was varied."""
    table = Table(title=f"{model.name}: trials on validation", title_justify="left")
    for column in ("trial", metric_label(found["metric"][0]), "epochs", "seconds", "state"):
        table.add_column(column, justify="right")
    table.add_column("varied", overflow="fold")
    for row in found.sort("value", descending=True, nulls_last=True).iter_rows(named=True):
        settings = json.loads(row["settings"])
        varied = ", ".join(f"{name} {settings[name]}" for name in space_of(model.settings))
        table.add_row(
            str(row["trial"]), number(row["value"]), str(row["epochs"]), f"{row['seconds']:.1f}", row["state"],
            escape(varied),
        )  # fmt: skip
    console.print(table)
