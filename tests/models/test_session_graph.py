"""The graphs of all prefixes, against each prefix drawn as a graph of its own."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from weft.models.registry import MODELS
from weft.models.session_graph import GrowingGraph, relations

# items of clicks; a repeats, an edge repeats, an item follows itself
SESSIONS = [[7], [1, 2, 3, 2, 4], [1, 2, 1, 2], [5, 5, 6], [3, 1, 2, 3, 1, 3, 3, 2, 1, 3]]


def _graph(sessions: list[list[int]]) -> GrowingGraph:
    longest = max(len(session) for session in sessions)
    return GrowingGraph.of(torch.tensor([session + [0] * (longest - len(session)) for session in sessions]))


def _neighbours(prefix: list[int], item: int, direction: int) -> set[int]:
    """The items one step before (-1) or after (1) ``item`` in a prefix, drawn as a set of edges."""
    edges = set(pairwise(prefix))
    return {pair[direction > 0] for pair in edges if pair[direction < 0] == item}


def test_every_prefix_has_the_edges_of_its_own_graph() -> None:
    graph = _graph(SESSIONS)
    for row, session in enumerate(SESSIONS):
        for end in range(1, len(session) + 1):
            prefix = session[:end]
            for item in set(prefix):
                click = max(place for place in range(end) if prefix[place] == item)
                for direction, means in [
                    (-1, graph.before),
                    (1, graph.after if click == end - 1 else graph.since),
                ]:
                    weights = dict.fromkeys(session, 0.0)
                    for place, weight in enumerate(means[row, click].tolist()[: len(session)]):
                        weights[session[place]] += weight
                    expected = _neighbours(prefix, item, direction)
                    for other, weight in weights.items():
                        share = 1 / len(expected) if other in expected else 0
                        np.testing.assert_allclose(weight, share, atol=1e-6, err_msg=f"{prefix} {item} {direction}")


def test_clicks_on_an_item_are_counted_where_it_was_clicked_last() -> None:
    graph = _graph([[1, 2, 1, 2]])
    assert graph.clicks[0].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 2, 0], [0, 0, 2, 2]]


def test_a_way_that_was_walked_twice_is_one_edge() -> None:
    graph = _graph([[1, 2, 1, 2]])
    assert graph.before[0, 3].tolist() == [1, 0, 0, 0]  # 1 came before 2, both times
    assert graph.after[0, 3].tolist() == [0, 0, 1, 0]  # after the first 2 came the second 1
    assert graph.after[0, 1].tolist() == [0, 0, 0, 0]  # nothing came yet
    assert graph.since[0, 1].tolist() == [0, 0, 1, 0]


def test_padding_and_other_sessions_change_no_graph() -> None:
    session = [1, 2, 3, 2]
    alone, padded = _graph([session]), _graph([session, [9, 2, 3, 9, 9, 1]])
    for name in ("before", "after", "clicks"):
        torch.testing.assert_close(getattr(padded, name)[:1, :4, :4], getattr(alone, name))
        assert not getattr(padded, name)[0, :4, 4:].any()
    torch.testing.assert_close(padded.since[:1, :3, :4], alone.since[:, :3])  # no click follows the last


def test_an_empty_history_has_a_graph_of_one_click_on_nothing() -> None:
    graph = GrowingGraph.of(torch.zeros((1, 1), dtype=torch.int64))
    assert not graph.before.any()
    assert not graph.after.any()
    assert graph.clicks.tolist() == [[[1]]]


def test_items_of_a_session_stand_before_after_or_both() -> None:
    found = relations(torch.tensor([[1, 2, 3, 2, 4], [5, 5, 6, 0, 0]]))
    assert found[0].tolist() == [
        [1, 2, 0, 0, 0],
        [3, 1, 4, 0, 2],
        [0, 4, 1, 0, 0],
        [3, 1, 4, 0, 2],  # the second click on 2 is the same node, whose column is that of the first
        [0, 3, 0, 0, 1],
    ]
    assert found[1].tolist() == [[1, 0, 2, 0, 0], [1, 0, 2, 0, 0], [3, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize("name", ["srgnn", "tagnn", "gcegnn", "dhcn"])
def test_a_length_whose_graphs_no_memory_holds_is_refused(name: str) -> None:
    assert MODELS[name].settings(length=512)
    with pytest.raises(ValidationError, match="less than or equal to 512"):
        MODELS[name].settings(length=513)
