"""The weighted sum of the names nearest to an answer, against hand computation and a plain loop."""

import numpy as np
import polars as pl
import pytest

from weft.language import localisation
from weft.language.localisation import each_once, localise
from weft.schemas import localized_intents

# Lengths 2, 1 and 5: cosines with (1, 0) are 1, 0 and 0.6.
NAMES = pl.DataFrame(
    {"item": [7, 3, 5], "vector": [[2.0, 0.0], [0.0, 1.0], [3.0, 4.0]]},
    schema={"item": pl.Int32, "vector": pl.Array(pl.Float32, 2)},
)


def inferences(*texts: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"session": range(1, len(texts) + 1), "view": ["long"] * len(texts), "text": texts},
        schema={"session": pl.Int64, "view": pl.Enum(["long", "short", "plain"]), "text": pl.String},
    )


def vectors(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_the_nearest_names_are_weighted_by_their_own_similarity() -> None:
    table, empty = localise(inferences("x"), vectors([10, 0]), NAMES, 2)
    localized_intents(2).validate(table)
    row = table.row(0, named=True)
    assert (row["session"], row["view"], row["k"], row["items"], row["empty"]) == (1, "long", 2, [7, 5], False)
    assert row["similarities"] == pytest.approx([1.0, 0.6])
    assert row["vector"] == pytest.approx([1.0 * 2 + 0.6 * 3, 0.6 * 4]), "the sum is not divided by K"
    assert empty == 0


def test_a_name_on_the_other_side_counts_against() -> None:
    table, _ = localise(inferences("x"), vectors([-1, 0]), NAMES, 3)
    assert table["items"].to_list() == [[3, 5, 7]]
    assert table["vector"].to_list()[0] == pytest.approx([-0.6 * 3 - 1 * 2, -0.6 * 4])


def test_no_neighbours_keep_the_vector_of_the_answer() -> None:
    table, _ = localise(inferences("x", None), vectors([10, 1], [4, 4]), NAMES, 0)
    assert table["vector"].to_list() == [[10, 1], [0, 0]]
    assert table["items"].to_list() == [[], []]


def test_no_answer_is_a_zero_vector_with_a_mark_and_counted() -> None:
    table, empty = localise(inferences("x", None), vectors([1, 0], [np.nan, 1]), NAMES, 2)
    assert table["empty"].to_list() == [False, True]
    assert table.select("items", "similarities", "vector").row(1) == ([], [], [0, 0])
    assert empty == 0.5


def test_more_neighbours_than_names_are_all_names() -> None:
    table, _ = localise(inferences("x"), vectors([1, 0]), NAMES, 50)
    assert (table["k"][0], table["items"].to_list()) == (3, [[7, 5, 3]])


def test_equally_near_names_go_by_item_number() -> None:
    same = NAMES.with_columns(vector=pl.Series([[1.0, 0.0]] * 3, dtype=pl.Array(pl.Float32, 2)))
    table, _ = localise(inferences("x"), vectors([1, 0]), same, 2)
    assert table["items"].to_list() == [[3, 5]]


def test_a_zero_name_is_near_to_nothing() -> None:
    zero = NAMES.with_columns(vector=pl.Series([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]], dtype=pl.Array(pl.Float32, 2)))
    table, _ = localise(inferences("x"), vectors([1, 0]), zero, 3)
    assert table["items"].to_list() == [[5, 3, 7]]
    assert table["similarities"].to_list()[0] == pytest.approx([1, 0.5**0.5, 0])


def test_blocks_agree_with_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localisation, "_BLOCK", 700)  # a few rows at a time
    rng = np.random.default_rng(0)
    answers, names = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(200, 8)).astype(np.float32)
    items = rng.permutation(np.arange(1, 201))
    frame = pl.DataFrame(
        {"item": pl.Series(items, dtype=pl.Int32), "vector": pl.Series(names, dtype=pl.Array(pl.Float32, 8))}
    )
    table, _ = localise(inferences(*"x" * 50), answers, frame, 5)
    for answer, row in zip(answers.astype(np.float64), table.iter_rows(named=True), strict=True):
        cosines = [float(answer @ name / np.linalg.norm(answer) / np.linalg.norm(name)) for name in names]
        best = sorted(range(200), key=lambda i: -cosines[i])[:5]
        assert row["items"] == [items[i] for i in best]
        assert row["vector"] == pytest.approx(sum(cosines[i] * names[i] for i in best), abs=1e-5)


def test_nothing_to_place_is_an_empty_table() -> None:
    table, empty = localise(inferences(), np.zeros((0, 2), np.float32), NAMES, 2)
    localized_intents(2).validate(table)
    assert empty == 0


def test_widths_must_agree() -> None:
    with pytest.raises(ValueError, match="width 3"):
        localise(inferences("x"), vectors([1, 0, 0]), NAMES, 2)


def test_every_different_text_is_encoded_once() -> None:
    asked: list[str] = []

    def encode(texts):
        asked.extend(texts)
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)

    assert each_once(pl.Series(["aa", None, "b", "aa"]), encode).tolist() == [[2, 1], [0, 0], [1, 1], [2, 1]]
    assert asked == ["aa", "b"]
    assert each_once(pl.Series([None], dtype=pl.String), encode).tolist() == [[0, 0]]
