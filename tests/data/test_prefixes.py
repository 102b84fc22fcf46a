import numpy as np

from tests.evaluation.events import interactions
from weft.data.prefixes import prefixes
from weft.data.sequences import Events
from weft.evaluation.protocols import protocol


def events(*sessions: list[int]) -> Events:
    user = np.repeat(np.arange(1, len(sessions) + 1), [len(session) for session in sessions]).astype(np.int32)
    item = np.array([item for session in sessions for item in session], np.int32)
    return Events(user, item, np.arange(len(item)), None, n_users=len(sessions), n_items=9)


def test_a_session_of_n_events_makes_n_minus_1_rows_none_across_sessions() -> None:
    rows = prefixes(events([4, 5, 6], [7], [8, 9]))
    assert len(rows) == 3
    queries, target = rows.take(np.arange(3))
    assert queries.padded(3).tolist() == [[4, 0, 0], [4, 5, 0], [8, 0, 0]]
    assert target.tolist() == [5, 6, 9]
    assert queries.time is not None
    assert queries.time.tolist() == [1, 2, 5]
    assert queries.user.tolist() == [0, 0, 0]


def test_rows_come_in_the_order_that_was_asked_for() -> None:
    queries, target = prefixes(events([4, 5, 6], [7, 8])).take(np.array([2, 0, 2]))
    assert queries.padded(2).tolist() == [[7, 0], [4, 0], [7, 0]]
    assert target.tolist() == [8, 5, 8]


def test_nothing_of_a_held_out_session_is_a_training_row() -> None:
    data = interactions([(1, 1 + place // 2, 10_000 * (place // 2) + place) for place in range(20)])
    rule = protocol("sessions")
    splits = rule.split(data.lazy()).collect()
    queries, target = prefixes(rule.events(splits, 1, 10)).take(np.arange(8))
    assert len(prefixes(rule.events(splits, 1, 10))) == 8
    assert set(target.tolist()) | set(queries.items.tolist()) == set(range(1, 9)), "items 9 and 10 are held out"


def test_no_events_make_no_rows() -> None:
    assert len(prefixes(events())) == 0
