"""Zero-Shot CoT: what is read of an answer."""

import polars as pl
import pytest

from weft.systems import zero_shot


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("Yes", "Yes"),
        ("They like sagas, so no doubt. Answer: yes.", "Yes"),
        ("No, wait. It is a saga.\nAnswer: Yes", "Yes"),
        ("Yes and no. ANSWER: NO!", "No"),
        ("Answer: Yes. There is no doubt.", "Yes"),
        ("**Answer:** **No**, yes, I am sure", "No"),
        ("Answer: No? Hm. Answer: Yes", "Yes"),
        ("The answer could be no", "No"),
        ("<think>No no no</think> Yes", "Yes"),
        ("Nobody knows; yesterday they noted it.", None),
        ("", None),
    ],
)
def test_what_stands_behind_the_last_answer_counts_else_the_last_word_after_the_reasoning_is_the_answer(
    raw: str, said: str | None
) -> None:
    assert zero_shot.parse(raw) == said


def test_an_answer_that_says_neither_or_never_came_stands_between_both() -> None:
    raw = ["So: Yes", "So: No", "Perhaps", "Yes"]
    table = pl.DataFrame({"raw": raw, "status": ["answered", "retried", "malformed", "failed"]})
    assert zero_shot.score(table).tolist() == [1.0, 0.0, 0.5, 0.5]
