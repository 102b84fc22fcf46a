import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weft.language.chunks import pool, split


def letters(text):
    """A tokeniser that makes one token of every letter, and none of blanks."""
    return len(text.replace(" ", ""))


def test_a_text_that_fits_stays_as_it_is():
    assert split("  two  words ", letters, 8) == ["  two  words "]


def test_a_long_text_is_cut_between_words_into_equal_parts():
    assert split("aa bb cc dd ee ff", letters, 8) == ["aa bb cc", "dd ee ff"]
    assert split("aa bb cc dd ee ff", letters, 5) == ["aa bb", "cc dd", "ee ff"]


def test_a_part_that_is_still_too_long_is_cut_again():
    assert split("a a a a bbbb bbbb", letters, 6) == ["a a a", "a", "bbbb", "bbbb"]
    assert split("a bbbbbb", letters, 3) == ["a", "bbb", "bbb"]


def test_a_letter_of_several_tokens_ends_the_cutting():
    assert split("xy", lambda text: 4 * len(text), 2) == ["x", "y"]


@given(st.text(alphabet="ab \n", max_size=60), st.integers(1, 12))
def test_no_part_is_over_budget_and_nothing_is_lost(text, budget):
    def count(part):
        return len("".join(part.split()))

    parts = split(text, count, budget)
    assert all(count(part) <= budget for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_pooling_is_the_normalised_mean_of_each_text_own_parts():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, -1]], np.float32)
    pooled = pool(vectors, np.array([2, 1, 1], np.int32))
    assert np.allclose(pooled, [[0.5**0.5, 0.5**0.5], [0.6, 0.8], [0, -1]], atol=1e-6)
    assert pooled.dtype == np.float32


def test_parts_that_cancel_out_give_no_nan():
    vectors = np.array([[1, 0], [-1, 0]], np.float32)
    assert np.array_equal(pool(vectors, np.array([2], np.int32)), [[0, 0]])


def test_no_texts_pool_to_no_rows():
    assert pool(np.zeros((0, 3), np.float32), np.zeros(0, np.int32)).shape == (0, 3)
