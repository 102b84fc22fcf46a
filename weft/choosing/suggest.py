"""What to try next, and whether to stop early: Optuna's TPE and its median rule, asked anew for every trial.

Tree-structured Parzen estimator: Bergstra et al., Algorithms for Hyper-Parameter Optimization (2011). A study is made
in memory of the trials so far each time, with a seed of its own for each: so that what is suggested depends on the
trials alone, and not on where a search was interrupted. Imports optuna, which takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from weft.models.settings.search import Among, Between, Space

if TYPE_CHECKING:
    from weft.choosing.trials import Trial

_RANDOM = 5
"""Trials before the estimator has a say."""
_WARM_UP = 5
"""The first evaluation after which a trial can be behind."""
_STATES = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Advice:
    """What to try: ``fields`` of the settings, two digits each."""

    fields: dict[str, Any]
    _trial: optuna.Trial

    def behind(self, course: Sequence[float]) -> bool:
        """Whether the best of ``course`` is below the median of the other trials' values at the same evaluation."""
        self._trial.report(course[-1], len(course))
        return bool(self._trial.should_prune())


def advise(space: Space, seen: Sequence[tuple[Mapping[str, Any], Trial]], seed: int, attempt: int = 0) -> Advice:
    """What to try after the trials ``seen``, each with its fields of the space.

    Args:
        space: The fields, and what may be tried for each.
        seen: What was tried; fields outside of the space (settings as they stood) count for the median alone.
        seed: Of the search.
        attempt: Another number, another suggestion.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {name: _distribution(searched) for name, searched in space.items()}
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=_RANDOM, seed=(seed * 1_000_003 + len(seen) * 101 + attempt) % 2**32
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_RANDOM, n_warmup_steps=_WARM_UP)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    for fields, trial in seen:
        inside = all(fields[name] in space[name] for name in space)
        study.add_trial(
            create_trial(
                state=_STATES[trial.state],
                value=trial.value if trial.state != "failed" else None,
                params=dict(fields) if inside else {},
                distributions=distributions if inside else {},
                intermediate_values=dict(enumerate(trial.course, 1)),
            )
        )
    asked = study.ask(distributions)
    return Advice({name: _short(value) for name, value in asked.params.items()}, asked)


def _distribution(searched: Between | Among) -> BaseDistribution:
    if isinstance(searched, Among):
        return CategoricalDistribution(searched.values)
    return FloatDistribution(searched.low, searched.high, log=searched.log)


def _short(value: Any) -> Any:
    """Two digits say as much as seventeen, and a person can read them."""
    return float(f"{value:.2g}") if isinstance(value, float) else value
