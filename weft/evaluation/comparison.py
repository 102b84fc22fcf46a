"""Is one system better than another, or is it these users? Paired bootstrap of the difference. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.evaluation.intervals import interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """a - b per column: the difference, its 95 % interval and the two-sided p of no difference, float64 [m] each."""

    delta: Floats
    low: Floats
    high: Floats
    p: Floats


def paired(a: Floats, b: Floats, samples_a: Floats, samples_b: Floats) -> Difference:
    """Compares two systems that were measured on the same units and resampled alike (``intervals.means``).

    p = 2 min(P(d <= 0), P(d >= 0)) over the resamples, each share with one added to count and total, at most 1: it is
    never 0, and it is 1 for two systems that do not differ at all.

    Args:
        a: Figures of the first system, float64 [m].
        b: Figures of the second.
        samples_a: The first in each resample, float64 [resamples, m].
        samples_b: The second in the same resamples.
    """
    drawn = samples_a - samples_b
    low, high = interval(drawn)
    resamples = (~np.isnan(drawn)).sum(axis=0)
    below, above = ((drawn <= 0).sum(axis=0) + 1) / (resamples + 1), ((drawn >= 0).sum(axis=0) + 1) / (resamples + 1)
    return Difference(a - b, low, high, np.minimum(1.0, 2 * np.minimum(below, above)))
