"""Sessions: anonymous visits, cut by the start of the session. No history crosses sessions.

The two protocols differ in what is filtered first and in the order that decides what is held out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Set as AbstractSet
from typing import ClassVar, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from weft.evaluation.protocols.base import SPLIT, Protocol

START = ("started", "first_row")
"""Order of sessions by time: second of the first event, then its source row."""


class BySession(Protocol):
    """What the session protocols share: numbered sessions, whole sessions in each split, which rows are asked."""

    grouped_by: ClassVar[Literal["user", "session"]] = "session"
    one_clock: ClassVar[bool] = True

    filter_seen: bool = Field(
        default=False, description="Items of the session's own past are not ranked; in a visit they often come again."
    )
    min_session_events: int = Field(default=2, ge=2, description="Shorter sessions are unused.")
    targets: Literal["last", "all_prefixes"] = Field(
        default="last", description="What is asked of a held-out session: its last item, or each but the first."
    )

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        rows = self._sessions(ordered).collect()
        if rows["group"].null_count() == len(rows):
            raise self.refusal(f"sessions of {self.min_session_events} events")
        sessions = (
            rows.lazy()
            .filter(pl.col("group").is_not_null())
            .group_by("user", "group")
            .agg(started=pl.col("timestamp").min(), first_row=pl.col("row").min())
            .with_columns(of_user=pl.col("first_row").min().over("user"))
        )
        numbered = self._numbered(sessions.collect()).lazy()
        assigned = (
            rows.lazy()
            .drop("session")
            .join(numbered.select("user", "group", "session", "split"), on=["user", "group"], how="left")
            .with_columns(pl.col("split").fill_null(pl.lit("unused", dtype=SPLIT)))
            .sort("session", "timestamp", "row", nulls_last=[True, False, False])
        )
        train = pl.col("split") == "train"
        place = pl.int_range(pl.len()).over("session")
        asked = place == pl.len().over("session") - 1 if self.targets == "last" else place > 0
        known = (train.any()).over("item")
        return assigned.with_columns(target=asked & known & pl.col("split").is_in(["validation", "test"]))

    @abstractmethod
    def _sessions(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        """``ordered`` with ``group``, equal inside a session of a user and null outside the sessions in use."""

    @abstractmethod
    def _numbered(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Sessions (user, group, started, first_row, of_user) with their number, ``session``, and their ``split``."""

    def dropped(self, splits: pl.DataFrame) -> int:
        """Rows of held-out sessions that would be asked, had their item been seen in training."""
        held = splits.filter(pl.col("split").is_in(["validation", "test"]))
        if self.targets == "last":
            return held["session"].n_unique() - int(held["target"].sum())
        return len(held) - held["session"].n_unique() - int(held["target"].sum())


class Sessions(BySession):
    """Sessions in order of their start: the first 80 % are trained on, the last 10 % are the test.

    A session is what the source calls one (``session_id``), what lies between two pauses (``gap``), or what falls
    into one window of the clock (``clock``); rows that have no session id, or no time, are unused. A target whose item
    no training session holds is not asked (``dropped`` counts them). Nothing is filtered by counts over all data.
    """

    name: ClassVar[str] = "sessions"
    title: ClassVar[str] = "Next item of anonymous sessions, by start of session"

    by: Literal["auto", "session_id", "gap", "clock"] = Field(
        default="auto", description="What makes a session; auto: session_id where the source has it, else gap."
    )
    seconds: int = Field(default=1800, ge=1, description="The pause that ends a session, or the width of the window.")
    train_share: float = Field(default=0.8, gt=0, lt=1, description="Share of sessions that are trained on.")
    validation_share: float = Field(default=0.1, gt=0, lt=1, description="Share of sessions in validation.")

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.train_share + self.validation_share >= 1:
            raise ValueError("train_share and validation_share must leave something for the test")
        return self

    def lacks(self, columns: AbstractSet[str]) -> str:
        """Needs session ids or times, whichever makes a session."""
        if self.by == "auto":
            return "" if columns & {"session_id", "timestamp"} else "session_id or timestamp"
        needed = "session_id" if self.by == "session_id" else "timestamp"
        return "" if needed in columns else needed

    def _sessions(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        has = ordered.select(pl.col("session_id", "timestamp").count()).collect().row(0, named=True)
        by = self.by if self.by != "auto" else "session_id" if has["session_id"] else "gap"
        needed = "session_id" if by == "session_id" else "timestamp"
        if not has[needed]:
            raise self.refusal(self.lacks(set()))
        time = pl.col("timestamp")
        group = {
            "session_id": pl.col("session_id").cast(pl.Categorical).to_physical().cast(pl.Int64),
            "gap": pl.when(time.is_not_null()).then((time.diff() > self.seconds).cum_sum().fill_null(0).over("user")),
            "clock": time // self.seconds,
        }[by]
        long = pl.len().over("user", "group") >= self.min_session_events
        return ordered.with_columns(group=group.cast(pl.Int64)).with_columns(group=pl.when(long).then("group"))

    def _numbered(self, sessions: pl.DataFrame) -> pl.DataFrame:
        held = round(self.train_share + self.validation_share, 9)  # 0.7 + 0.2 is a little less than 0.9 in floats
        return cut(sessions.sort(*START), int(self.train_share * len(sessions)), int(held * len(sessions)))


class PaperSessionsUserOrder(BySession):
    """LLM4SBR's sessions of ML-1M (arXiv:2402.13840): windows of the clock, cut in the order of user numbers.

    Items with fewer than five clicks go first, over all data, then sessions with fewer than two clicks. In the order
    (user, window) the first 90 % are training, and of these the last 10 % serve for selection. The order of users is
    that of their first row in the source. Training holds sessions that are later than the test.
    """

    name: ClassVar[str] = "paper_sessions_user_order"
    title: ClassVar[str] = "LLM4SBR's sessions, cut by user number"
    needs: ClassVar[tuple[str, ...]] = ("timestamp",)
    promises_past: ClassVar[bool] = False

    seconds: int = Field(default=600, ge=1, description="Width of the window of the clock.")
    min_item_events: int = Field(default=5, ge=1, description="Items with fewer clicks in all are unused.")

    def _sessions(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        often = pl.len().over("item") >= self.min_item_events
        dated = often & pl.col("timestamp").is_not_null()
        group = pl.when(dated).then(pl.col("timestamp") // self.seconds)
        long = pl.len().over("user", "group") >= self.min_session_events
        return ordered.with_columns(group=group).with_columns(group=pl.when(long).then("group"))

    def _numbered(self, sessions: pl.DataFrame) -> pl.DataFrame:
        second = int(0.9 * len(sessions))
        return cut(sessions.sort("of_user", "group"), int(0.9 * second), second)


def cut(sessions: pl.DataFrame, first: int, second: int) -> pl.DataFrame:
    """Sessions in their order, numbered from 1: ``first`` are trained on, from ``second`` on they are the test."""
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    split = (
        pl.when(number <= first)
        .then(pl.lit("train", dtype=SPLIT))
        .when(number <= second)
        .then(pl.lit("validation", dtype=SPLIT))
        .otherwise(pl.lit("test", dtype=SPLIT))
    )
    return sessions.with_columns(session=number, split=split)
