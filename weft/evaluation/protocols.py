"""Protocols: who is asked, what is visible, what is the answer, and which items are ranked.

A protocol is an object with a name and a digest of its rules, not flags scattered in code. Order inside a user is by
(timestamp, source row) everywhere. Not here: scoring (``ranking.py``) and metrics (``metrics.py``). Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from weft.data.sequences import Events, Queries, Task
from weft.errors import RequestError
from weft.schemas import SPLITS

_ORDER = ("user", "timestamp", "row")
_SPLIT = pl.Enum(SPLITS)


def _seconds(value: object) -> object:
    """A date, or its ISO text, as seconds since 1970 UTC; anything else goes on to be validated as a number."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    return value


Moment = Annotated[int, BeforeValidator(_seconds)]


class Protocol(BaseModel):
    """Rules of one evaluation. Fields are the rules that a data set may set; the rest is the class.

    Attributes:
        name: Name in every table and path.
        title: What it does, in one line.
        kind: ``ranking`` (one target among the catalogue) or ``pointwise`` (labelled pairs).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[Literal["ranking", "pointwise"]] = "ranking"

    filter_seen: bool = Field(
        default=True, description="Items of a query's own history are not ranked; the target always is."
    )
    strict_time: bool = Field(
        default=False, description="A history ends before the target's second, not before its row."
    )

    @property
    def digest(self) -> str:
        """SHA-256 of the rules: equal digests mean comparable numbers."""
        rules = {"name": self.name, "kind": self.kind, "order": _ORDER, "version": 1, **self.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(rules, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def split(self, interactions: pl.LazyFrame) -> pl.LazyFrame:
        """Assigns every interaction its part (schema ``Splits``), sorted by (user, timestamp, row).

        Raises:
            RequestError: If the interactions lack what the rules need (times, parts).
        """
        split, target = self._rules(interactions)
        return (
            _in_order(interactions)
            .with_columns(split=split)
            .with_columns(target=target)
            .select("row", "user", "item", "timestamp", "rating", "split", "target")
        )

    @abstractmethod
    def _rules(self, interactions: pl.LazyFrame) -> tuple[pl.Expr, pl.Expr]:
        """The columns ``split`` and ``target`` (which may read ``split``) over the sorted interactions."""

    def events(self, splits: pl.DataFrame, n_users: int, n_items: int) -> Events:
        """What a model may be fitted on: the rows of the training split and nothing else."""
        train = splits.filter(pl.col("split") == "train")
        return Events(
            user=train["user"].to_numpy(),
            item=train["item"].to_numpy(),
            timestamp=_times(train),
            label=None,
            n_users=n_users,
            n_items=n_items,
        )

    def task(self, splits: pl.DataFrame, split: Literal["validation", "test"], n_items: int) -> Task:
        """The queries and answers of ``split``; a query's id is the source row of its target.

        A history holds all rows of the user before the target (for a test query also validation rows), never rows of
        a later split. Ranked are the items that occur in this split or an earlier one, so that what exists only in
        the test split cannot change a validation figure.
        """
        visible = _up_to(splits, split)
        asked = np.flatnonzero((visible["target"] & (visible["split"] == split)).to_numpy())
        user, item = visible["user"].to_numpy(), visible["item"].to_numpy()
        first = np.searchsorted(user, user[asked])
        last = _run_starts(visible)[asked] if self.strict_time else asked
        lengths = last - first
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])
        times = _times(visible)
        candidates = np.zeros(n_items + 1, dtype=np.bool_)
        candidates[item] = True
        queries = Queries(
            query=visible["row"].to_numpy()[asked],
            user=user[asked],
            time=None if times is None else times[asked],
            items=item[source],
            offsets=offsets,
        )
        return Task(split, queries, item[asked], candidates, self.filter_seen)


class LeaveOneOut(Protocol):
    """The last item of a user is asked in the test, the one before it in validation; the rest is training.

    Users with fewer than three interactions are trained on and never asked. Training rows of other users may be
    later than a user's test: it measures models, not a deployment.
    """

    name: ClassVar[str] = "leave_one_out"
    title: ClassVar[str] = "Last item of each user against the full catalogue"

    def _rules(self, interactions: pl.LazyFrame) -> tuple[pl.Expr, pl.Expr]:
        del interactions
        count = pl.len().over("user")
        from_end = count - pl.int_range(pl.len()).over("user")
        asked = count >= 3
        split = (
            pl.when(asked & (from_end == 1))
            .then(pl.lit("test", dtype=_SPLIT))
            .when(asked & (from_end == 2))
            .then(pl.lit("validation", dtype=_SPLIT))
            .otherwise(pl.lit("train", dtype=_SPLIT))
        )
        return split, pl.col("split") != "train"


class GlobalTime(Protocol):
    """Two cuts in time for everybody: training before the first, test from the second on.

    Rows without a time are unused. The cuts are quantiles of all timestamps, or given moments.
    """

    name: ClassVar[str] = "global_time"
    title: ClassVar[str] = "Past against future, one cut in time for all users"

    validation_quantile: float = Field(
        default=0.8, gt=0, lt=1, description="Share of events before the validation split."
    )
    test_quantile: float = Field(default=0.9, gt=0, lt=1, description="Share of events before the test split.")
    validation_from: Moment | None = Field(
        default=None, description="Moment of the first cut (UTC), instead of a quantile."
    )
    test_from: Moment | None = Field(default=None, description="Moment of the second cut (UTC), instead of a quantile.")
    targets: Literal["first", "all"] = Field(
        default="first", description="Held-out interactions of a user that are asked."
    )

    @model_validator(mode="after")
    def _cuts_in_order(self) -> Self:
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("give both validation_from and test_from, or neither")
        if self.validation_quantile >= self.test_quantile:
            raise ValueError("validation_quantile must be below test_quantile")
        if self.validation_from is not None and self.test_from is not None and self.validation_from >= self.test_from:
            raise ValueError("validation_from must be before test_from")
        return self

    def _rules(self, interactions: pl.LazyFrame) -> tuple[pl.Expr, pl.Expr]:
        time = pl.col("timestamp")
        cuts = (
            interactions.select(
                first=time.quantile(self.validation_quantile, "higher"),
                second=time.quantile(self.test_quantile, "higher"),
            )
            .collect()
            .row(0)
        )
        if cuts[0] is None:
            raise RequestError(
                "protocol 'global_time' needs timestamps and the interactions have none",
                "map a timestamp column, or use the protocol 'leave_one_out', which orders by source row",
            )
        validation_from = cuts[0] if self.validation_from is None else self.validation_from
        test_from = cuts[1] if self.test_from is None else self.test_from
        split = (
            pl.when(time < validation_from)
            .then(pl.lit("train", dtype=_SPLIT))
            .when(time < test_from)
            .then(pl.lit("validation", dtype=_SPLIT))
            .when(time >= test_from)
            .then(pl.lit("test", dtype=_SPLIT))
            .otherwise(pl.lit("unused", dtype=_SPLIT))
        )
        target = pl.col("split").is_in(["validation", "test"])
        if self.targets == "first":
            target &= pl.int_range(pl.len()).over("user", "split") == 0
        return split, target


class Predefined(Protocol):
    """Data that come split: the source's own parts (``train``, ``validation``, ``test``; none: unused)."""

    name: ClassVar[str] = "predefined"
    title: ClassVar[str] = "The parts that the source itself names"

    targets: Literal["all", "last", "last_in_session"] = Field(
        default="all",
        description="Rows of a held-out part that are asked: all, the last per user, or the last per session.",
    )

    def _rules(self, interactions: pl.LazyFrame) -> tuple[pl.Expr, pl.Expr]:
        found = interactions.select(pl.col("part").unique()).collect()["part"].to_list()
        if found == [None]:
            raise RequestError(
                "protocol 'predefined' needs the column 'part' and the interactions have none",
                "map the column that names the split, or use the protocol 'leave_one_out'",
            )
        unknown = sorted({part for part in found if part is not None} - set(SPLITS))
        if unknown:
            raise RequestError(
                f"column 'part' holds {', '.join(map(repr, unknown[:5]))}", f"use the values {', '.join(SPLITS)}"
            )
        target = pl.col("split").is_in(["validation", "test"])
        if self.targets != "all":
            group = ("user", "split") if self.targets == "last" else ("user", "session_id", "split")
            target &= pl.int_range(pl.len()).over(group) == pl.len().over(group) - 1
        return pl.col("part").fill_null("unused").cast(_SPLIT), target


PROTOCOLS: dict[str, Protocol] = {each.name: each for each in (LeaveOneOut(), GlobalTime(), Predefined())}
"""Registered protocols with their default rules."""


def protocol(name: str, settings: Mapping[str, Any] | None = None) -> Protocol:
    """The protocol called ``name``, with rules that a data set sets for itself (for example its own cuts).

    Raises:
        RequestError: If there is no such protocol, or a rule is unknown or out of bounds.
    """
    if name not in PROTOCOLS:
        raise RequestError(f"there is no protocol {name!r}", f"choose from {', '.join(PROTOCOLS)}")
    kind = type(PROTOCOLS[name])
    try:
        return kind(**(settings or {}))
    except ValidationError as error:
        first = error.errors()[0]
        rule = ".".join([name, *map(str, first["loc"])])
        raise RequestError(f"protocol rule {rule}: {first['msg']}", f"rules: {', '.join(kind.model_fields)}") from error


def headline(*, comes_split: bool) -> str:
    """Name of the protocol that a data set is judged by: its own parts where it comes split, else leave-one-out."""
    return Predefined.name if comes_split else LeaveOneOut.name


def seen_in_training(events: Events) -> NDArray[np.bool_]:
    """Bool [n_items + 1]: items with at least one training event (``warm``)."""
    seen = np.zeros(events.n_items + 1, dtype=np.bool_)
    seen[events.item] = True
    return seen


def tied_time(splits: pl.DataFrame, split: Literal["validation", "test"]) -> NDArray[np.bool_]:
    """Bool [q] in the order of ``Protocol.task``: the source row, not time, decided that this is the target.

    True where another event of the same user shares the target's timestamp; true everywhere without timestamps.
    """
    visible = splits.filter(pl.col("split") != "unused")
    starts = _run_starts(visible)
    sizes = np.bincount(starts, minlength=len(starts))[starts]
    asked = (visible["target"] & (visible["split"] == split)).to_numpy()
    return sizes[asked] > 1


def _in_order(interactions: pl.LazyFrame) -> pl.LazyFrame:
    """The interactions by (user, timestamp, row). Cleaned ones are so already: a look takes 4 ms on 1 M, a sort 100."""
    after = pl.lit(value=True)
    for name in reversed(_ORDER):
        key, before = pl.col(name), pl.col(name).shift()
        after = (key > before) | (key.eq_missing(before) & after)
    ordered = interactions.select(after.slice(1).fill_null(value=False).all()).collect().item()
    return interactions if ordered else interactions.sort(_ORDER)


def _up_to(splits: pl.DataFrame, split: str) -> pl.DataFrame:
    """Rows of ``split`` and of the splits before it."""
    return splits.filter(pl.col("split").is_in(SPLITS[: SPLITS.index(split) + 1]))


def _times(frame: pl.DataFrame) -> NDArray[np.int64] | None:
    """Timestamps, or None where any is missing."""
    return None if frame["timestamp"].null_count() else frame["timestamp"].to_numpy()


def _run_starts(frame: pl.DataFrame) -> NDArray[np.int64]:
    """int64 [n]: for each row, the first row of the same user and timestamp (a missing time equals a missing time)."""
    if frame.is_empty():
        return np.zeros(0, dtype=np.int64)
    time = frame["timestamp"].fill_null(np.iinfo(np.int64).min).to_numpy()
    user = frame["user"].to_numpy()
    new = np.ones(len(user), dtype=np.bool_)
    new[1:] = (user[1:] != user[:-1]) | (time[1:] != time[:-1])
    return np.maximum.accumulate(np.where(new, np.arange(len(user)), 0))
