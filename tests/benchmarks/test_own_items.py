"""What the items of the own session take from a model, counted by hand."""

import numpy as np
import polars as pl
import pytest

from benchmarks.own_items import measure
from weft.data.sequences import Queries


def test_places_that_own_items_hold_above_the_target_are_given_back() -> None:
    asked = Queries(
        query=np.array([7, 9]),
        user=np.zeros(2, np.int32),
        time=None,
        items=np.array([1, 2, 1, 5], np.int32),
        offsets=np.array([0, 3, 4]),
    )
    rankings = pl.DataFrame(
        {
            "query": [7, 9],
            # Target 3 stands fourth behind 1, 4 and 2, of which 1 and 2 are own; target 6 stands first, before own 5.
            "score": [0.6, 0.9],
            "better": [3, 0],
            "equal": [0, 0],
            "items": [[1, 4, 2, 3], [6, 5]],
            "scores": [[0.9, 0.8, 0.7, 0.6], [0.9, 0.1]],
        }
    )
    found = measure(rankings, asked)
    assert found == pytest.approx(
        {"own": 1.5, "p": 1.0, "mrr": (1 / 4 + 1) / 2, "p_without": 1.0, "mrr_without": (1 / 2 + 1) / 2}
    )


def test_a_target_behind_twenty_counts_as_found_once_own_items_before_it_are_gone() -> None:
    # Nineteen are better and two equal: mid-rank 21. Own are the first of the list and its last, which is behind.
    asked = Queries(np.array([1]), np.zeros(1, np.int32), None, np.array([1, 30], np.int32), np.array([0, 2]))
    rankings = pl.DataFrame(
        {
            "query": [1],
            "score": [0.0],
            "better": [19],
            "equal": [2],
            "items": [[*range(1, 23), 30]],
            "scores": [[*(float(k) for k in range(19, 0, -1)), 0.0, 0.0, 0.0, -1.0]],
        }
    )
    found = measure(rankings, asked)
    assert found == pytest.approx({"own": 1.0, "p": 0.0, "mrr": 0.0, "p_without": 1.0, "mrr_without": 1 / 20})
