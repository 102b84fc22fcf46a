"""From a request on the command line to a run of a job: everything is checked before any work.

Not here: what a person sees of it (``follow.py``), and which assets there are (``assets/``).
"""

import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import dagster as dg
from pydantic import ValidationError
from rich.console import Console

from assets import cit_rec_material as cit_rec
from assets.bounds import BOUNDS
from assets.house import HOUSES, House, HouseConfig
from pipelines import jobs
from pipelines.follow import Follower, Seen
from pipelines.instance import HOST_TAG, storage_base
from resources import profiles
from weft.alignment.settings import AlignmentSettings
from weft.cells import check_key
from weft.data.registry import DatasetSpec
from weft.errors import RequestError
from weft.evaluation.protocols import PROTOCOLS, headline, protocol
from weft.language.prompts import template
from weft.models.registry import MODELS
from weft.models.settings import resolve
from weft.models.user_states import UserStatesSettings
from weft.systems.registry import FULL, SYSTEMS
from weft.systems.settings import PromptSettings
from weft.tuning.settings import TuningSettings

PARTITION_TAG = "dagster/partition"
INVOCATION_TAG = "weft/invocation"
PAIRS = "pointwise_time"
"""The protocol of models that are judged by labelled pairs alone, where none is named."""

CONTENT = "content"
"""What is no system and may be asked for like one: vectors and generated texts of the items."""

SETS: Mapping[str, Callable[[str], bool]] = {
    "main": lambda name: name not in MODELS or MODELS[name].main,
    "baselines": lambda name: name in MODELS or name in BOUNDS,
    "papers": lambda name: name in SYSTEMS,
    "all": lambda _: True,
}
"""Names that stand for several systems, and what belongs to each; ``main`` is what a run makes that names none."""


@dataclass(frozen=True)
class Request:
    """What to make: the systems and cells of one data set. No protocol means its headline, and those of its systems."""

    dataset: str
    systems: list[str]
    protocols: list[str] = field(default_factory=list)
    variants: list[str] = field(default_factory=lambda: [FULL])
    seeds: list[int] = field(default_factory=lambda: [0])
    profile: str = "offline"
    settings: Mapping[str, Any] = field(default_factory=dict)


def request(
    spec: DatasetSpec,
    *,
    systems: str,
    protocols: str,
    variants: str,
    seeds: str,
    profile: str,
    settings: Mapping[str, Any],
) -> Request:
    """The request that a command line states.

    Raises:
        RequestError: If a system, protocol, variant, seed, profile or setting is unknown or not allowed.
    """
    chosen = chosen_systems(systems, spec, _listed(protocols))
    profiles.load(profile)
    made = Request(
        spec.name, chosen, _protocols(protocols, chosen, spec), _variants(variants, chosen), _seeds(seeds), profile,
        settings,
    )  # fmt: skip
    run_config(made)
    return made


def _protocols(text: str, systems: list[str], spec: DatasetSpec) -> list[str]:
    """The protocols named; where none is, the headlines of data set and systems, for all, so that they can be compared.

    Empty where that is the headline of the data set alone.

    Raises:
        RequestError: If a protocol is unknown, or a system works under none of those named.
    """
    named = _listed(text)
    kinds = {protocol(name, spec.protocols.get(name)).kind for name in named}
    own = []
    if len(systems) == 1 and "ranking" not in _kinds(systems[0]):
        if named and "pointwise" not in kinds:
            raise RequestError(f"{systems[0]} needs a pointwise protocol", f"--protocols {PAIRS}")
        own.append(PAIRS)
    for system in (SYSTEMS[name] for name in systems if name in SYSTEMS):
        if named and system.kind not in kinds and system.listwise not in named and len(systems) == 1:
            raise RequestError(f"{system.name} needs a {system.kind} protocol", f"--protocols {system.protocol}")
        own.append(system.protocol if spec.has_times else system.untimed)
    return named or (list(dict.fromkeys([headline(comes_split=spec.comes_split), *own])) if own else [])


def _kinds(system: str) -> tuple[str, ...]:
    """Of the protocols that a model works under; of what is no model, both."""
    return MODELS[system].kinds if system in MODELS else ("ranking", "pointwise")


def _variants(text: str, systems: list[str]) -> list[str]:
    """The variants named; ``all`` is every one of the systems.

    Raises:
        RequestError: If none of the systems has one of that name.
    """
    own = (SYSTEMS[name].variants for name in systems if name in SYSTEMS)
    known = list(dict.fromkeys([FULL, *chain.from_iterable(own)]))
    named = _listed(text) or [FULL]
    if unknown := set(named) - {*known, "all"}:
        raise RequestError(f"there is no variant {min(unknown)!r}", f"choose from all, {', '.join(known)}")
    return known if "all" in named else list(dict.fromkeys(named))


def chosen_systems(text: str, spec: DatasetSpec, protocols: Sequence[str] = ()) -> list[str]:
    """The systems that the name of a set (``SETS``) or a list of names stands for on a data set.

    ``protocols`` are those that are named: one among a few is ranked without ratings.

    Raises:
        RequestError: If a name is unknown or cannot work on this data set, or nothing is named.
    """
    known = [*MODELS, *BOUNDS, CONTENT, *SYSTEMS]
    unfit: dict[str, str] = {}
    if not spec.has_ratings:
        judging = [
            *(name for name in MODELS if "ranking" not in _kinds(name)),
            *(name for name, each in SYSTEMS.items() if each.kind == "pointwise" and each.listwise not in protocols),
        ]
        unfit |= dict.fromkeys(judging, "needs ratings and this data set has none")
    if spec.format != "storefront":
        unfit |= dict.fromkeys(BOUNDS, "needs planted truth and this data set has none")
    if not spec.has_times:
        unfit["recent_popularity"] = "needs timestamps and this data set has none"
    fitting = [name for name in known if name not in unfit]
    choice = f"choose from {', '.join([*SETS, *known])}"
    chosen: list[str] = []
    for name in _listed(text):
        if name not in SETS and name not in known:
            raise RequestError(f"there is no system {name!r}", choice)
        if name in unfit:
            raise RequestError(f"{name} {unfit[name]}", f"leave it out: --systems {','.join(fitting)}")
        chosen += [each for each in fitting if SETS[name](each)] if name in SETS else [name]
    if not chosen:
        raise RequestError(f"--systems {text} names no system", choice)
    return list(dict.fromkeys(chosen))


def run_config(wanted: Request) -> dict[str, Any]:
    """The run configuration that the request means, valid for the job ``all_systems``.

    Raises:
        RequestError: If a path leads nowhere or a value is not allowed.
    """
    job = jobs.all_systems()
    cells = {"protocols": wanted.protocols, "variants": wanted.variants, "seeds": wanted.seeds}
    config: dict[str, Any] = {
        "ops": {},
        "resources": {"cells": {"config": {**cells, "profile": wanted.profile}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},  # the follower shows what matters
    }
    targets = _targets(job)
    for path, value in wanted.settings.items():
        target, _, name = path.rpartition(".")
        if target not in targets:
            raise RequestError(f"--set {path}: there is no {target!r}", f"choose from {', '.join(sorted(targets))}")
        kind, key, fields = targets[target]
        if name not in fields:
            raise RequestError(f"--set {path}: {target} has no {name!r}", f"choose from {', '.join(fields)}")
        config[kind].setdefault(key, {}).setdefault("config", {})[name] = value
    try:
        dg.validate_run_config(job, config)
        for key, given in config["resources"].items():
            _check_resource(key, given["config"])
    except dg.DagsterInvalidConfigError as error:
        first = error.errors[0].message
        raise RequestError(f"--set: {first}", "`weft systems` lists settings and bounds") from error
    _check_stages({op: given["config"] for op, given in config["ops"].items()}, wanted)
    return config


def execute(wanted: Request, instance: dg.DagsterInstance, console: Console) -> tuple[bool, Seen]:
    """Runs the job ``all_systems`` for the request's assets, shown live. Returns whether it succeeded."""
    papers = [name for name in wanted.systems if name in SYSTEMS]
    selection: dg.AssetSelection = jobs.INGEST | jobs.of_systems(*wanted.systems) | jobs.REPORTS
    if papers:
        selection |= jobs.with_inputs(*papers)
    if CONTENT in wanted.systems:
        selection |= jobs.HOUSE
    if not profiles.load(wanted.profile).needs_house:
        selection -= jobs.HOUSE
    fair = not wanted.protocols or any(PROTOCOLS[name].chooses for name in wanted.protocols)
    if fair and any(system in MODELS for system in wanted.systems):  # bounds serve nobody
        selection |= jobs.SERVING
    keys = selection.resolve(jobs.all_systems().asset_layer.asset_graph)
    return launch(jobs.all_systems, wanted.dataset, run_config(wanted), instance, console, sorted(keys))


def launch(
    job: Callable[[], dg.JobDefinition],
    dataset: str,
    config: Mapping[str, Any],
    instance: dg.DagsterInstance,
    console: Console,
    keys: Sequence[dg.AssetKey] | None = None,
) -> tuple[bool, Seen]:
    """Runs a job for one data set (of its assets ``keys``; None: all), shown live. Returns whether it succeeded."""
    tags = {PARTITION_TAG: dataset, INVOCATION_TAG: uuid.uuid4().hex, HOST_TAG: socket.gethostname()}
    with Follower(instance, {INVOCATION_TAG: tags[INVOCATION_TAG]}, console) as follower:
        result = dg.execute_job(dg.reconstructable(job), instance, run_config=config, tags=tags, asset_selection=keys)
    return result.success, follower.seen


def _targets(job: dg.JobDefinition) -> dict[str, tuple[str, str, list[str]]]:
    """What ``--set`` may name: models, resources, and assets that have a configuration; each with its fields."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    schema: Any = job.run_config_schema.run_config_schema_type
    names = {f"{entry.group}__{name}": name for name, entry in MODELS.items()}
    for kind in ("ops", "resources"):
        for key, entry in schema.fields[kind].config_type.fields.items():
            config = entry.config_type.fields.get("config")
            fields = list(getattr(getattr(config, "config_type", None), "fields", {}))
            if fields:
                found[names.get(key, key.replace("__", "."))] = (kind, key, fields)
    return found


def _check_resource(key: str, given: dict[str, Any]) -> None:
    from pipelines.definitions import default_resources  # noqa: PLC0415 - definitions import the jobs

    resource = default_resources()[key]
    try:
        type(resource)(**{name: getattr(resource, name) for name in type(resource).model_fields} | given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([key, *map(str, first["loc"])])
        raise RequestError(f"--set {place}: {first['msg']}") from error


def _check_stages(given: Mapping[str, dict[str, Any]], wanted: Request) -> None:
    """Reads what is set for each stage as the stage itself will, which refuses what is out of bounds."""
    for house in HOUSES:
        _check_house(house, given.get(f"house__{house.name}", {}))
    fitted = {f"{entry.group}__{name}": (name, entry.settings) for name, entry in MODELS.items()}
    fitted |= {"behaviour__user_states": ("user_states", UserStatesSettings)}
    fitted |= {"alignment__aligned_items": ("aligned_items", AlignmentSettings)}
    for op, (name, settings) in fitted.items():
        for rule in wanted.protocols or [""]:
            resolve(settings, name, wanted.dataset, given.get(op, {}), rule or None, storage_base())
    spec = profiles.load(wanted.profile).tuning[cit_rec.SYSTEM]
    asked = cit_rec.settings_of(cit_rec.PROMPTS, PromptSettings, spec, given.get("cit_rec__prompts", {}))
    template(cit_rec.SYSTEM, asked.prompt)
    cit_rec.settings_of(cit_rec.ADAPTER, TuningSettings, spec, given.get("cit_rec__adapter", {}))


def _check_house(house: House, given: dict[str, Any]) -> None:
    own = {name: value for name, value in given.items() if name in HouseConfig.model_fields}
    try:
        HouseConfig(**own)
        house.settings(**{name: value for name, value in given.items() if name not in own})
        check_key(own.get("catalogue") or "none", "data set name")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([f"house.{house.name}", *map(str, first["loc"])])
        raise RequestError(f"--set {place}: {first['msg']}") from error


def _seeds(text: str) -> list[int]:
    parts = _listed(text)
    if not parts or not all(part.isdecimal() and part.isascii() for part in parts):
        raise RequestError(f"--seeds {text!r} is no list of whole numbers from 0", "for example --seeds 0,1,2")
    return list(dict.fromkeys(map(int, parts)))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
