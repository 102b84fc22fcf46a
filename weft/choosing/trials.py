"""Choice: which settings of a model do best on validation, one fit after the other.

A trial is one fit. The first one is of the settings as they stand, so that what is chosen is never worse than that;
the others are suggested by what came before (``suggest.py``). A trial is a function of the study and of the trials
before it alone: a study that was interrupted goes on as an unbroken one would. Nothing here ever sees a test row.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from weft.choosing.suggest import Advice, advise
from weft.data.sequences import Events, Task
from weft.errors import RequestError, WeftError
from weft.evaluation.selecting import selecting
from weft.models.base import Model
from weft.models.registry import Entry
from weft.models.settings import ModelSettings
from weft.models.settings.search import Space
from weft.training.runtime import Runtime

_TRIES = 20
"""Suggestions that are asked for before a space counts as tried out."""


@dataclass(frozen=True)
class Trial:
    """One fit and what it came to (a row of schema ``Trials``).

    Attributes:
        trial: Number, from 0.
        settings: All settings of the model, as JSON.
        state: ``finished``; ``stopped``, because it fell behind the others; ``failed``, because it could not be fitted.
        value: Of the metric on validation, higher is better; None where it failed.
        epochs: That were fitted; 0 for a model that is not iterated.
        seconds: Of fitting and measuring.
        course: The value after each epoch that was evaluated.
        error: Why it failed.
    """

    trial: int
    settings: str
    state: Literal["finished", "stopped", "failed"]
    value: float | None
    epochs: int
    seconds: float
    course: list[float] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class Study:
    """All that the value of a trial depends on.

    Attributes:
        entry: The model.
        settings: The settings with some fields put in; raises ``RequestError`` where they do not fit together.
        space: The fields that are varied.
        train: What is fitted on.
        validation: What decides.
        seed: Of the fits and of the suggestions.
    """

    entry: Entry
    settings: Callable[[dict[str, Any]], ModelSettings]
    space: Space
    train: Events
    validation: Task
    seed: int


@dataclass(frozen=True)
class Budget:
    """How long a study goes on: trials in all, and minutes after which none is begun (None: no matter)."""

    trials: int
    minutes: float | None = None


class _Behind(Exception):  # noqa: N818 - it ends a trial, and is no error
    """The trial fell behind the others."""


def run(
    study: Study,
    trials: Sequence[Trial],
    budget: Budget,
    runtime: Runtime,
    keep: Callable[[list[Trial]], object],
) -> list[Trial]:
    """Goes on with a study until the budget is spent or the space is tried out; returns all its trials.

    Args:
        study: What is searched.
        trials: Those that it has already.
        budget: How long; one trial is made in any case.
        runtime: Device, progress, and ``work``, where the fit that is under way keeps its resume state.
        keep: Is handed all trials after each one, to write them down.

    Raises:
        RequestError: If there is nothing to measure by.
    """
    metric, measure = measure_of(study.validation)
    made, end = list(trials), time.monotonic() + 60 * (math.inf if budget.minutes is None else budget.minutes)
    left = max(budget.trials - len(made), 0)
    with runtime.progress.step(f"trials of {study.entry.name}", left, "trials") as step:
        while len(made) < budget.trials and (not made or time.monotonic() < end):
            chosen = _next(study, made)
            if chosen is None:
                break
            settings, advice = chosen
            made.append(_tried(study, settings, advice, len(made), runtime, measure))
            keep(made)
            step.advance(1, _told(made, metric))
    return made


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The best finished trial, the earliest of equals: what stands is only left for something better."""
    finished = [trial for trial in trials if trial.state == "finished" and trial.value is not None]
    return max(finished, key=lambda trial: (trial.value, -trial.trial), default=None)


def measure_of(validation: Task) -> tuple[str, Callable[[Model], float]]:
    """The metric that decides and how to take it of a fitted model: the one that picks its epoch.

    Raises:
        RequestError: If validation cannot tell one model from another.
    """
    found = selecting(validation) if len(validation) else None
    if found is None:
        raise RequestError("there is nothing to choose by: validation holds no answers", "choose another protocol")
    return found


def _next(study: Study, made: Sequence[Trial]) -> tuple[ModelSettings, Advice] | None:
    """What is tried next: first the settings as they stand, then suggestions that have not been tried yet."""
    tried = {trial.settings for trial in made}
    for attempt in range(_TRIES):
        advice = advise(study.space, [_seen(study.space, trial) for trial in made], study.seed, attempt)
        if not made:
            return study.settings({}), advice
        with suppress(RequestError):  # fields that do not fit together
            settings = study.settings(advice.fields)
            if settings.model_dump_json() not in tried:
                return settings, advice
    return None


def _seen(space: Space, trial: Trial) -> tuple[dict[str, Any], Trial]:
    settings = json.loads(trial.settings)
    return {name: settings[name] for name in space}, trial


def _tried(
    study: Study,
    settings: ModelSettings,
    advice: Advice,
    number: int,
    runtime: Runtime,
    measure: Callable[[Model], float],
) -> Trial:
    started, course = time.monotonic(), []

    def heard(value: float) -> None:
        course.append(value)
        if number and advice.behind(course):
            raise _Behind

    def told(
        state: Literal["finished", "stopped", "failed"], value: float | None, epochs: int, error: str = ""
    ) -> Trial:
        took = round(time.monotonic() - started, 3)
        return Trial(number, settings.model_dump_json(), state, value, epochs, took, course, error)

    every = getattr(settings, "evaluate_every", 1)
    model = study.entry.build(settings)
    try:
        history = model.fit(study.train, study.validation, replace(runtime, seed=study.seed, measured=heard))
        return told("finished", measure(model), len(history))
    except _Behind:
        return told("stopped", max(course), every * len(course))
    except (WeftError, RuntimeError, ValueError, ArithmeticError, MemoryError) as error:  # diverged, or out of memory
        return told("failed", None, every * len(course), " ".join(str(error).split())[:300])


def _told(made: Sequence[Trial], metric: str) -> str:
    best, last = best_of(made), made[-1]
    value = last.state if last.value is None or last.state != "finished" else f"{last.value:.4f}"
    leading = "" if best is None else f", best {metric.upper()} {best.value:.4f} (trial {best.trial})"
    return f"trial {last.trial} {value}{leading}"
