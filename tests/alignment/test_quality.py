"""The figures of an alignment, by hand."""

import numpy as np
import pytest

from weft.alignment.quality import alignment, quality, recall, uniformity

AXES = np.eye(4, dtype=np.float32)


def test_recall_counts_the_queries_whose_own_answer_is_near_enough() -> None:
    answers = AXES[[1, 0, 2, 3]]  # the first two are swapped
    assert recall(AXES, answers, 1) == 0.5
    blended = answers + 0.5 * AXES  # the own answer comes second
    assert recall(AXES, blended, 1) == 0.5
    assert recall(AXES, blended, 2) == 1.0


def test_vectors_that_are_all_equal_find_nothing() -> None:
    same = np.ones((9, 2), np.float32)
    assert recall(same, same, 4) == 0.0, "the middle of nine equal answers is place 5"
    assert recall(same, same, 5) == 1.0


def test_alignment_and_uniformity_of_a_few_points() -> None:
    assert alignment(AXES, AXES) == 0
    assert alignment(AXES, AXES[[1, 0, 3, 2]]) == pytest.approx(2)
    assert uniformity(np.array([[1, 0], [-1, 0]], np.float32)) == pytest.approx(-8)  # log exp(-2 · 4)
    assert uniformity(AXES) == pytest.approx(-4)  # every distance² is 2
    assert uniformity(np.ones((3, 1), np.float32)) == 0


def test_the_table_names_chance_beside_recall_and_one_item_has_no_figures() -> None:
    table = quality(AXES, AXES[[1, 0, 2, 3]], "held_out")
    found = dict(table.select("metric", "value").iter_rows())
    assert set(table["split"]) == {"held_out"}
    assert found["items"] == 4
    assert found["image_to_text_recall@1"] == found["text_to_image_recall@1"] == 0.5
    assert found["chance_recall@1"] == 0.25
    assert found["chance_recall@10"] == 1.0
    assert found["alignment"] == pytest.approx(1)
    assert quality(AXES[:1], AXES[:1], "train").is_empty()
