"""Bootstrap intervals: users (or sessions, or anonymous queries) are resampled, because rows of one user agree.

1,000 resamples with a fixed seed, so that equal input gives equal limits and two systems measured on the same units
are resampled alike: the difference of their samples is a paired bootstrap (``comparison.py``). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
RESAMPLES = 1_000
_SEED = 20_240_229
# Entries of the weight matrix that exist at a time: 64 MB.
_CHUNK = 8_000_000


def resample(units: int, resamples: int = RESAMPLES) -> Iterator[Floats]:
    """Multinomial weights, float64 [part of the resamples, units]: how often each unit was drawn."""
    rng = np.random.default_rng(_SEED)
    rows = max(1, _CHUNK // max(units, 1))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = rng.integers(0, units, size=(count, units)) + np.arange(count)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(np.float64)


def bootstrap(statistic: Callable[[Floats], Floats], units: int) -> Floats:
    """float64 [RESAMPLES, m]: ``statistic`` of weights [b, units] is [b, m]."""
    return np.concatenate([statistic(weights) for weights in resample(units)])


def means(values: Floats, counted: NDArray[np.bool_], unit: NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean of each column over its counted rows, and the same in every resample of units.

    Args:
        values: float64 [n, m].
        counted: bool [n, m], rows that a column's mean runs over.
        unit: [n], who a row belongs to.

    Returns:
        float64 [m] and float64 [RESAMPLES, m]; NaN where nothing is counted.
    """
    _, index = np.unique(unit, return_inverse=True)
    rows = len(unit)
    gather = sparse.csr_matrix((np.ones(rows), (index, np.arange(rows))), shape=(index.max(initial=-1) + 1, rows))
    total, count = gather @ np.where(counted, values, 0.0), gather @ counted.astype(np.float64)
    if not rows:
        return np.full(values.shape[1], np.nan), np.full((RESAMPLES, values.shape[1]), np.nan)
    samples = bootstrap(lambda weights: _ratio(weights @ total, weights @ count), gather.shape[0])
    return _ratio(total.sum(axis=0), count.sum(axis=0)), samples


def interval(samples: Floats) -> tuple[Floats, Floats]:
    """The 95 % percentile interval of each column of ``samples`` [b, m]; NaN where a column has no sample."""
    limits = np.full((2, samples.shape[1]), np.nan)
    known = ~np.isnan(samples).all(axis=0)
    limits[:, known] = np.nanquantile(samples[:, known], (0.025, 0.975), axis=0)
    return limits[0], limits[1]


def _ratio(total: Floats, count: Floats) -> Floats:
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
