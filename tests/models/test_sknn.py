"""SKNN and V-SKNN: neighbours and votes worked out by hand on a few sessions."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models import contracts as c
from weft.data.sequences import Events
from weft.models.base import Model
from weft.models.settings import SKNNSettings, VSKNNSettings
from weft.models.sknn import SKNN, VSKNN

SESSIONS = [[1, 2, 3], [2, 4], [5, 6], [3, 2, 3, 7]]
"""Of users 1 to 4; the last one reads item 3 twice."""


def _sknn(sessions: list[list[int]] | Events = SESSIONS, **settings: int) -> Model:
    return _fitted(SKNN(SKNNSettings(**settings)), sessions)


def _vsknn(sessions: list[list[int]] | Events = SESSIONS, **settings: float) -> Model:
    return _fitted(VSKNN(VSKNNSettings(**settings)), sessions)


def _fitted(model: Model, sessions: list[list[int]] | Events) -> Model:
    model.fit(sessions if isinstance(sessions, Events) else c.events(sessions), None, c.runtime())
    return model


def _votes(model: Model, history: list[int], user: int = 0) -> dict[int, float]:
    """The items that got votes."""
    scores = model.score(c.queries([history], users=[user]))[0].numpy()
    return {item: float(scores[item]) for item in range(1, len(scores)) if scores[item] != 0}


def _ending(*days: int) -> Events:
    """Sessions [1, 10], [1, 11], … that end on these days."""
    train = c.events([[1, 10 + number] for number in range(len(days))])
    assert train.timestamp is not None
    return replace(train, timestamp=train.timestamp + np.repeat(days, 2) * 86_400)


def test_sessions_vote_for_their_items_by_the_cosine_of_sets() -> None:
    first, second, last = 2 / math.sqrt(2 * 3), 1 / math.sqrt(2 * 2), 2 / math.sqrt(2 * 3)
    expected = {1: first, 2: first + second + last, 3: first + last, 4: second, 7: last}
    assert _votes(_sknn(), [3, 2]) == pytest.approx(expected)
    assert _votes(_sknn(), [2, 3, 2, 2]) == pytest.approx(expected), "a history is a set"


def test_the_nearest_sessions_alone_vote() -> None:
    assert _votes(_sknn(neighbours=2), [2, 3]).keys() == {1, 2, 3, 7}
    assert _votes(_sknn(neighbours=1), [2, 4]).keys() == {2, 4}


def test_of_equally_near_sessions_the_newest_votes() -> None:
    assert _votes(_sknn(_ending(5, 9, 7), neighbours=1), [1]).keys() == {1, 11}
    assert _votes(_sknn(_ending(5, 9, 7), neighbours=2), [1]).keys() == {1, 11, 12}


def test_the_most_recent_sessions_that_share_an_item_are_compared_and_no_others() -> None:
    """[1, 2] is nearer to the history than what is newer, but two newer sessions share an item."""
    old_and_near = [[1, 2], [1, 3, 4], [1, 5, 6], [7, 8]]
    train = c.events(old_and_near)
    assert train.timestamp is not None
    newer = replace(train, timestamp=train.timestamp + train.user.astype(np.int64) * 86_400_000)
    assert _votes(_sknn(newer, sample=2), [1, 2]).keys() == {1, 3, 4, 5, 6}
    assert _votes(_sknn(newer, sample=2), [8, 7]).keys() == {7, 8}, "each query has a sample of its own"
    assert _votes(_sknn(newer, sample=3), [1, 2]).keys() == {1, 2, 3, 4, 5, 6}


def test_without_times_the_last_sessions_are_the_most_recent() -> None:
    untimed = replace(_ending(9, 7, 5), timestamp=None)
    assert _votes(_sknn(untimed, sample=2), [1]).keys() == {1, 11, 12}


def test_nobodys_own_training_history_is_their_neighbour() -> None:
    """It holds what came after an earlier query of theirs; others, and strangers, see it."""
    train = [[1, 2, 9], [1, 2, 8]]
    assert _votes(_sknn(train), [1, 2], user=1).keys() == {1, 2, 8}
    assert _votes(_sknn(train), [1, 2], user=2).keys() == {1, 2, 9}
    assert _votes(_sknn(train), [1, 2], user=0).keys() == {1, 2, 8, 9}
    assert _votes(_sknn(train, sample=1), [1, 2], user=2).keys() == {1, 2, 9}, "nor do they take its place"
    assert _votes(_sknn(_ending(9, 5)), [1], user=1).keys() == {1, 11}, "in whatever order sessions ended"


def test_newer_items_weigh_more_by_a_line() -> None:
    """At reach 4 the weights are 1, 3/4, 1/2, 1/4 and 0 from the newest on; an item counts where it stood last."""
    model = _vsknn(reach=4, idf=0)
    norm = math.sqrt(1 + 0.75**2 + 0.5**2)
    first = (1 + 0.75) / norm / math.sqrt(3)
    second, last = 0.75 / norm / math.sqrt(2), (1 + 0.75) / norm / math.sqrt(3)
    expected = {1: first, 2: first + second + last, 3: first + last, 4: second, 7: last}
    assert _votes(model, [5, 9, 2, 3])[5] == pytest.approx(0.25 / math.sqrt(norm**2 + 0.25**2) / math.sqrt(2))
    assert _votes(model, [5, 6, 9, 2, 3]).keys() == {1, 2, 3, 4, 5, 6, 7}, "6 has the least weight, and 5 none"
    assert _votes(model, [9, 2, 3]) == pytest.approx(expected)
    assert _votes(model, [3, 9, 2, 3]) == pytest.approx(expected), "3 stood last at the end"
    assert _votes(model, [5, 9, 10, 2, 3]).keys() == {1, 2, 3, 4, 7}, "5 lies out of reach"
    assert _votes(_vsknn([[2, 8], [5, 6]], reach=1, sample=1), [5, 2]).keys() == {2, 8}, "nor does it choose the sample"


def test_votes_for_rare_items_are_raised() -> None:
    """Of 4 sessions 3 hold item 2, two item 3, one each of the others."""
    plain, raised = _votes(_vsknn(idf=0), [2, 3]), _votes(_vsknn(idf=0.5), [2, 3])
    held = {1: 1, 2: 3, 3: 2, 4: 1, 7: 1}
    assert raised == pytest.approx(
        {item: votes * (1 + 0.5 * math.log(4 / held[item])) for item, votes in plain.items()}
    )


def test_many_queries_are_answered_as_one_by_one_each_with_a_sample_and_neighbours_of_its_own() -> None:
    rng = np.random.default_rng(0)
    asked = c.queries([rng.integers(1, 8, size=size % 5).tolist() for size in range(300)], users=[0] * 300)
    for limits in ({"sample": 1}, {"neighbours": 1}):
        model = _vsknn(**limits)
        together = model.score(asked)
        alone = [model.score(asked.take(np.array([query]))) for query in range(120, 140)]
        assert together[120:140].equal(torch.cat(alone))
        assert (together[:, 1:] > 0).any(1).tolist() == (asked.lengths > 0).tolist()
