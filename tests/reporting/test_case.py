import polars as pl
import pytest

from weft.reporting.case import MOST_HISTORY, MOST_JUDGED, case_of
from weft.schemas import ScoredPairs, Splits


def splits(rows: list[tuple]) -> pl.DataFrame:
    """Rows of (row, user, item, timestamp, split, label)."""
    frame = pl.DataFrame(rows, schema=["row", "user", "item", "timestamp", "split", "label"], orient="row")
    filled = frame.with_columns(rating=None, session=None, target=pl.col("split") == "test")
    return Splits.cast(filled.select(list(Splits.columns())))


def scored(rows: list[tuple], split: str = "test") -> pl.DataFrame:
    """Rows of (row, user, item, label, score)."""
    frame = pl.DataFrame(rows, schema=["row", "user", "item", "label", "score"], orient="row")
    filled = frame.with_columns(system=pl.lit("cit_rec"), split=pl.lit(split), warm=pl.lit(value=True))
    return ScoredPairs.cast(filled.select(list(ScoredPairs.columns())))


PAST = [
    (0, 2, 10, 6, "train", True), (1, 2, 11, 4, "train", False), (2, 2, 12, 5, "validation", True),
    (3, 2, 13, 3, "unused", None), (4, 1, 10, 1, "train", True),
]  # fmt: skip
TESTS = [(10, 2, 20, True, 0.5), (11, 2, 21, False, 1.5), (12, 2, 22, True, -2.0), (13, 2, 23, False, -1.0)]
FUTURE = [(row, user, item, 100 + row, "test", label) for row, user, item, label, _ in TESTS]


def test_the_history_is_what_was_rated_before_and_the_extremes_are_what_is_shown() -> None:
    case = case_of(scored(TESTS), splits(PAST + FUTURE))
    assert case is not None
    assert (case.user, case.judged) == (2, 4)
    assert case.liked == [12, 10]  # by time, not by row; what has no label is not in it
    assert case.disliked == [11]
    assert [(each.item, each.score, each.liked) for each in case.recommended] == [(21, 1.5, False), (20, 0.5, True)]
    assert [(each.item, each.score, each.liked) for each in case.refused] == [(22, -2.0, True), (23, -1.0, False)]


def test_the_user_with_most_judged_rows_of_both_kinds_is_shown_and_the_smallest_number_on_ties() -> None:
    def of(user: int, first: int, labels: list[bool]) -> list[tuple]:
        return [(first + k, user, first + k, label, float(k)) for k, label in enumerate(labels)]

    rows = of(5, 100, [True, False, True]) + of(3, 200, [False, True, True]) + of(1, 300, [True] * 9)
    rows += of(4, 400, [True, False]) + of(0, 500, [True, False] * 5)
    held = splits([(row, user, item, row, "test", label) for row, user, item, label, _ in rows if user])
    assert case_of(scored(rows), held).user == 3
    assert case_of(scored(rows, split="validation"), held) is None
    assert case_of(scored(of(1, 300, [True] * 9)), held) is None


def test_a_row_without_a_score_is_neither_recommended_nor_refused() -> None:
    silent = [(*TESTS[0][:4], None), *TESTS[1:]]
    case = case_of(scored(silent), splits(PAST + FUTURE))
    assert case is not None
    assert case.judged == 3
    assert 20 not in [each.item for each in (*case.recommended, *case.refused)]


def test_equal_scores_stand_in_the_order_of_their_rows() -> None:
    case = case_of(scored([(*row[:4], 0.5) for row in reversed(TESTS)]), splits(PAST + FUTURE))
    assert case is not None
    assert [each.item for each in case.recommended] == [20, 21]
    assert [each.item for each in case.refused] == [23, 22]


def test_of_a_user_whose_rows_are_all_test_rows_the_first_half_is_history() -> None:
    case = case_of(scored(TESTS), splits(FUTURE))
    assert case is not None
    assert (case.liked, case.disliked, case.judged) == ([20], [21], 4)
    assert [each.item for each in case.recommended] == [23]
    assert [each.item for each in case.refused] == [22]


@pytest.mark.parametrize(("rows", "recommended", "refused"), [(2, 1, 1), (3, 2, 1), (7, 4, 3), (30, 4, 4)])
def test_no_item_is_both_recommended_and_refused_and_what_is_shown_is_bounded(
    rows: int, recommended: int, refused: int
) -> None:
    tests = [(100 + k, 2, 100 + k, k % 2 == 0, float(k)) for k in range(rows)]
    past = [(k, 2, k + 1, k, "train", k % 2 == 0) for k in range(60)]
    held = past + [(row, user, item, row, "test", label) for row, user, item, label, _ in tests]
    case = case_of(scored(tests), splits(held))
    assert case is not None
    assert (len(case.recommended), len(case.refused)) == (recommended, refused)
    assert not {each.item for each in case.recommended} & {each.item for each in case.refused}
    assert len(case.recommended) <= MOST_JUDGED
    assert case.liked == list(range(59 - 2 * (MOST_HISTORY - 1), 60, 2))
