"""What is suggested, and when a trial is behind."""

from typing import Any

from weft.choosing.suggest import advise
from weft.choosing.trials import Trial
from weft.models.settings.search import Among, Between

SPACE = {"rate": Between(1e-4, 1e-1, log=True), "width": Among((32, 64))}


def seen(courses: list[list[float]], **fields: Any) -> list[tuple[dict[str, Any], Trial]]:
    given = {"rate": 1e-3, "width": 32, **fields}
    return [(given, Trial(n, "{}", "finished", max(each), len(each), 1.0, each)) for n, each in enumerate(courses)]


def test_suggestions_are_of_the_space_and_spread_over_the_logarithm() -> None:
    fields = [advise(SPACE, [], seed).fields for seed in range(200)]
    assert {each["width"] for each in fields} == {32, 64}
    rates = sorted(each["rate"] for each in fields)
    assert 1e-4 <= rates[0] < 2e-4
    assert 5e-2 < rates[-1] <= 1e-1
    assert 1.5e-3 < rates[100] < 7e-3, "the middle of the logarithm is 3.2e-3, that of the line 5e-2"


def test_the_same_trials_give_the_same_suggestion_and_another_attempt_another() -> None:
    before = seen([[0.1]] * 3)
    assert advise(SPACE, before, 0).fields == advise(SPACE, before, 0).fields
    assert advise(SPACE, before, 0).fields != advise(SPACE, before, 0, attempt=1).fields
    assert advise(SPACE, before, 0).fields != advise(SPACE, seen([[0.1]] * 4), 0).fields


def test_settings_that_stood_outside_of_the_space_are_no_hindrance() -> None:
    outside = seen([[0.9]] * 7, rate=0.5, width=48)
    assert SPACE["rate"].low <= advise(SPACE, outside, 0).fields["rate"] <= SPACE["rate"].high  # type: ignore[union-attr]


def test_behind_is_who_is_below_the_median_at_the_same_place_after_a_few_evaluations() -> None:
    courses = [[0.1 * step for step in range(1, 11)]] * 3 + [[0.02 * step for step in range(1, 11)]] * 3

    def course(*values: float) -> list[bool]:
        advice = advise(SPACE, seen(courses), 0)
        return [advice.behind(values[: place + 1]) for place in range(len(values))]

    # The median after 5 evaluations is 0.3, after 6 it is 0.36.
    assert course(0.0, 0.0, 0.0, 0.0, 0.29) == [False] * 4 + [True]
    assert course(0.0, 0.0, 0.0, 0.0, 0.31, 0.35) == [False] * 5 + [True]
    assert course(0.37, 0.0, 0.0, 0.0, 0.0, 0.0) == [False] * 6, "its best counts, not its last"


def test_nobody_is_behind_before_there_are_others_to_compare_with() -> None:
    advice = advise(SPACE, seen([[0.9] * 9] * 4), 0)
    assert not any(advice.behind([0.0] * place) for place in range(1, 10))
