"""Data that come split."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from weft.errors import RequestError
from weft.evaluation.protocols.base import SPLIT, Protocol
from weft.schemas import SPLITS


class Predefined(Protocol):
    """Data that come split: the source's own parts (``train``, ``validation``, ``test``; none: unused)."""

    name: ClassVar[str] = "predefined"
    title: ClassVar[str] = "The parts that the source itself names"
    needs: ClassVar[tuple[str, ...]] = ("part",)
    promises_past: ClassVar[bool] = False

    targets: Literal["all", "last", "last_in_session"] = Field(
        default="all",
        description="Rows of a held-out part that are asked: all, the last per user, or the last per session.",
    )

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        found = ordered.select(pl.col("part").unique()).collect()["part"].to_list()
        if found == [None]:
            raise self.refusal("the column 'part'")
        unknown = sorted({part for part in found if part is not None} - set(SPLITS))
        if unknown:
            raise RequestError(
                f"column 'part' holds {', '.join(map(repr, unknown[:5]))}", f"use the values {', '.join(SPLITS)}"
            )
        target = pl.col("split").is_in(["validation", "test"])
        if self.targets != "all":
            group = ("user", "split") if self.targets == "last" else ("user", "session_id", "split")
            target &= pl.int_range(pl.len()).over(group) == pl.len().over(group) - 1
        return ordered.with_columns(split=pl.col("part").fill_null("unused").cast(SPLIT)).with_columns(target=target)
