import numpy as np
import pytest

from weft.evaluation.comparison import paired
from weft.evaluation.intervals import RESAMPLES, interval, means, resample


def _measured(values: list[float], unit: np.ndarray | None = None) -> tuple:
    table = np.array(values, float)[:, None]
    return means(table, np.ones(table.shape, bool), np.arange(len(values)) if unit is None else unit)


def test_weights_draw_every_resample_as_many_units_as_there_are() -> None:
    weights = np.concatenate(list(resample(7)))
    assert weights.shape == (RESAMPLES, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.12)


def test_the_interval_of_a_known_mean_contains_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        value, samples = _measured(rng.binomial(1, 0.3, 300).tolist())
        low, high = interval(samples)
        assert low[0] <= value[0] <= high[0]
        hits += low[0] <= 0.3 <= high[0]
    assert 52 <= hits <= 60


def test_the_width_is_that_of_the_normal_approximation() -> None:
    _, samples = _measured([0.0, 1.0] * 500)
    low, high = interval(samples)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(1000), rel=0.08)


def test_users_are_resampled_not_rows() -> None:
    """Ten rows that repeat one user's answer carry the information of one."""
    one = _measured([0.0, 1.0] * 25)
    copied = _measured(np.repeat([0.0, 1.0] * 25, 10).tolist(), np.repeat(np.arange(50), 10))
    assert copied[0] == one[0]
    np.testing.assert_allclose(copied[1], one[1])


def test_rows_that_are_not_counted_do_not_matter() -> None:
    values, counted = np.array([[1.0], [5.0], [3.0]]), np.array([[True], [False], [True]])
    value, samples = means(values, counted, np.arange(3))
    assert value.tolist() == [2.0]
    assert np.nanmax(samples) == 3.0
    nothing, samples = means(values, np.zeros((3, 1), bool), np.arange(3))
    assert np.isnan(nothing).all()
    assert np.isnan(interval(samples)).all()
    assert np.isnan(means(np.zeros((0, 2)), np.zeros((0, 2), bool), np.zeros(0, int))[0]).all()


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    """Both systems swing with the same users; b is better by a little everywhere."""
    rng = np.random.default_rng(0)
    base = rng.random(200)
    worse, better = _measured(base.tolist()), _measured((base + 0.01 + 0.01 * rng.random(200)).tolist())
    (low_a, high_a), (low_b, _) = interval(worse[1]), interval(better[1])
    assert low_b[0] < high_a[0], "the intervals overlap"
    got = paired(better[0], worse[0], better[1], worse[1])
    assert got.delta[0] == pytest.approx(0.015, abs=0.001)
    assert 0.013 < got.low[0] <= got.delta[0] <= got.high[0] < 0.017
    assert got.p[0] == pytest.approx(2 / (RESAMPLES + 1))
    assert low_a[0] < worse[0][0]


def test_a_system_does_not_differ_from_itself() -> None:
    value, samples = _measured([0.0, 1.0, 1.0])
    got = paired(value, value, samples, samples)
    assert (got.delta[0], got.low[0], got.high[0], got.p[0]) == (0, 0, 0, 1)


def test_pure_noise_is_rarely_called_a_difference() -> None:
    rng = np.random.default_rng(4)
    called = 0
    for _ in range(60):
        a, b = _measured(rng.random(100).tolist()), _measured(rng.random(100).tolist())
        called += paired(a[0], b[0], a[1], b[1]).p[0] < 0.05
    assert called <= 8
