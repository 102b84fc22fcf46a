"""Trials: what is tried after what, what stops and what fails, and what is chosen in the end."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.choosing.peak import TARGET, Peak, PeakSettings, study
from tests.models import contracts as c
from weft.choosing import trials as choosing
from weft.choosing.trials import Budget, Trial, best_of, measure_of, run
from weft.errors import RequestError, WeftError
from weft.evaluation.ranking import ndcg_at_10
from weft.models.settings import ModelSettings
from weft.models.settings.search import Among, Between


def searched(trials: int, known: list[Trial] | None = None, keep: Any = lambda _: None, **given: Any) -> list[Trial]:
    return run(study(**given), known or [], Budget(trials), c.runtime(), keep)


def told(trials: list[Trial]) -> list[dict[str, Any]]:
    """All of them but the seconds."""
    return [{**asdict(trial), "seconds": 0} for trial in trials]


def tried(trials: list[Trial]) -> list[float]:
    return [json.loads(trial.settings)["place"] for trial in trials]


def test_the_settings_as_they_stand_come_first_and_what_follows_is_in_the_space() -> None:
    found = searched(8)
    assert [trial.trial for trial in found] == list(range(8))
    assert found[0].settings == PeakSettings().model_dump_json()
    assert len({trial.settings for trial in found}) == 8, "nothing is tried twice"
    assert all(0 <= place <= 1 for place in tried(found))
    assert all(json.loads(trial.settings)["epochs"] == 6 for trial in found), "what is not in the space stays"
    assert all(place == float(f"{place:.2g}") for place in tried(found)), "two digits are enough"


def test_a_value_is_the_figure_of_the_fitted_model_on_validation() -> None:
    for trial in searched(6, space={"place": Between(0.0, 0.9)}):
        model = Peak(PeakSettings.model_validate_json(trial.settings))
        assert trial.value == ndcg_at_10(model.score, study().validation)
        assert (trial.epochs, trial.state, len(trial.course)) == (6, "finished", 6)


def test_the_search_learns_where_the_best_settings_are() -> None:
    """Of the trials after the random ones more than half lie within a quarter of the space."""
    found = searched(30, space={"place": Between(0.0, 0.95)})
    later = tried(found)[10:]
    near = sum(abs(place - TARGET / c.N_ITEMS) < 0.125 for place in later)
    assert near > len(later) / 2
    best = best_of(found)
    assert best is not None
    assert best.value == 1


def test_an_interrupted_study_goes_on_as_an_unbroken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = searched(9)
    kept: list[str] = []
    fit = Peak.fit

    def killed(model: Peak, *given: Any) -> Any:
        if len(kept) == 4:
            raise KeyboardInterrupt
        return fit(model, *given)

    with monkeypatch.context() as broken:
        broken.setattr(Peak, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            searched(9, keep=lambda made: kept.append(json.dumps([asdict(trial) for trial in made])))
    known = [Trial(**row) for row in json.loads(kept[-1])]
    assert len(known) == 4
    before = Peak.fits
    assert told(searched(9, known)) == told(unbroken)
    assert Peak.fits == before + 5, "what was tried is not tried again"


def test_the_seed_decides_what_is_suggested() -> None:
    assert told(searched(6)) == told(searched(6))
    assert tried(searched(6))[1:] != tried(searched(6, seed=1))[1:]


def test_a_trial_that_diverges_is_marked_and_the_search_goes_on() -> None:
    found = searched(
        4, settings=lambda fields: PeakSettings(**{**fields, "place": 0.99 if "b" in fields.values() else 0.5})
    )
    failed = [trial for trial in found if trial.state == "failed"]
    assert failed
    assert all(trial.value is None and "the loss became nan" in trial.error for trial in failed)
    best = best_of(found)
    assert best is not None
    assert best.state == "finished"


def test_an_error_of_the_program_is_no_failed_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(Peak, "fit", broken)
    with pytest.raises(AttributeError):
        searched(2)


def test_a_trial_that_falls_behind_is_stopped_and_never_chosen() -> None:
    def course(trial: int, value: float) -> Trial:
        return Trial(trial, PeakSettings(place=trial / 100).model_dump_json(), "finished", value, 6, 1.0, [value] * 6)

    known = [course(trial, 1.5) for trial in range(6)]  # better than any place can be
    found = searched(9, known)[6:]
    assert {trial.state for trial in found} <= {"stopped", "failed"}
    stopped = [trial for trial in found if trial.state == "stopped"]
    assert stopped
    assert all(trial.epochs == 5 and trial.value == max(trial.course) for trial in stopped)
    leading = replace(stopped[0], value=9.0)
    assert best_of([leading, *known]) == known[0]


def test_of_equals_the_earliest_is_chosen_and_of_failures_none() -> None:
    def trial(number: int, state: Any, value: float | None) -> Trial:
        return Trial(number, "{}", state, value, 1, 1.0)

    assert best_of([trial(0, "finished", 0.5), trial(1, "finished", 0.5)]) == trial(0, "finished", 0.5)
    assert best_of([trial(0, "finished", 0.5), trial(1, "finished", 0.6)]) == trial(1, "finished", 0.6)
    assert best_of([trial(0, "failed", None)]) is None
    assert best_of([]) is None


def test_a_small_space_ends_when_all_of_it_was_tried() -> None:
    found = searched(10, space={"kind": Among(("a", "b"))})
    assert [json.loads(trial.settings)["kind"] for trial in found] == ["a", "b"]


def test_settings_that_do_not_fit_together_are_passed_over() -> None:
    def made(fields: dict[str, Any]) -> ModelSettings:
        if fields.get("kind") == "b":
            raise RequestError("kind: b fits nothing")
        return PeakSettings(**fields)

    assert {json.loads(trial.settings)["kind"] for trial in searched(6, settings=made)} == {"a"}


def test_no_trial_is_begun_after_the_minutes_but_there_is_always_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 20))  # every look at it is 20 s later
    monkeypatch.setattr(choosing.time, "monotonic", lambda: next(clock))
    limited = run(study(), [], Budget(100, minutes=3), c.runtime(), lambda _: None)
    assert 2 < len(limited) < 10
    assert len(run(study(), [], Budget(100, minutes=1e-9), c.runtime(), lambda _: None)) == 1
    assert len(run(study(), limited, Budget(100, minutes=1e-9), c.runtime(), lambda _: None)) == len(limited)


def test_what_decides_is_what_picks_the_epoch_of_a_fit() -> None:
    assert measure_of(c.validation([3]))[0] == "ndcg@10"
    assert measure_of(c.judged())[0] == "uauc"
    with pytest.raises(RequestError, match="nothing to choose by"):
        measure_of(replace(c.judged(), label=c.judged().label & False))  # type: ignore[operator]
    for task in (c.validation([3, 3, 4]), c.judged()):
        heard: list[float] = []
        model = c.build("sasrec", loss="binary" if task.label is not None else "cross_entropy", epochs=4)
        train = c.cycle() if task.label is None else c.labelled()
        history = model.fit(train, task, replace(c.runtime(), measured=heard.append))
        assert heard == history["validation"].to_list()
        assert measure_of(task)[1](model) == pytest.approx(max(heard), abs=1e-6)


def test_a_watcher_that_has_heard_enough_ends_the_fit() -> None:
    def enough(value: float) -> None:
        raise WeftError(f"{value}")

    with pytest.raises(WeftError):
        c.build("sasrec").fit(c.cycle(), c.validation([3]), replace(c.runtime(), measured=enough))
