"""Zero-Shot CoT (Kojima et al. 2022): the model reasons in words, then answers; nothing is trained."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.language import answers

UNREADABLE = 0.5
"""Score of a row whose answer says neither Yes nor No: between both."""

_ANSWER = re.compile(r"\banswer\W+(yes|no)\b", re.IGNORECASE)
_SAID = re.compile(r"\b(yes|no)\b", re.IGNORECASE)


def parse(raw: str) -> str | None:
    """``Yes`` or ``No``: what stands behind the last "Answer", else whichever is said last; None where neither is.

    What is said first is reasoning: "No, wait. … Answer: Yes" means Yes.
    """
    text = answers.without_reasoning(raw)
    said = _ANSWER.findall(text) or _SAID.findall(text)
    return said[-1].capitalize() if said else None


def score(generations: pl.DataFrame) -> NDArray[np.float64]:
    """float64 [n], in the order of the rows (columns of ``Generated``): 1 for Yes, 0 for No."""
    said = answers.read(generations, parse)
    return said.replace_strict({"Yes": 1.0, "No": 0.0}, default=UNREADABLE, return_dtype=pl.Float64).to_numpy()
