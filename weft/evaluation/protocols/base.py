"""What every protocol is: named rules with a digest, from interactions to splits, training events and tasks.

A protocol is an object with a name and a digest of its rules, not flags scattered in code. Order inside a user (inside
a session, where nobody crosses sessions) is by (timestamp, source row) everywhere. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Set as AbstractSet
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from weft.data.sequences import Events, Queries, Task
from weft.errors import RequestError, WeftError
from weft.evaluation.protocols.order import ORDER, in_order, run_starts, times, up_to
from weft.schemas import SPLITS, Splits

SPLIT = pl.Enum(SPLITS)
Held = Literal["validation", "test"]


class Protocol(BaseModel):
    """Rules of one evaluation. Fields are the rules that a data set may set; the rest is the class.

    Attributes:
        name: Name in every table and path.
        title: What it does, in one line.
        kind: ``ranking`` (one target among the catalogue) or ``pointwise`` (labelled pairs).
        grouped_by: ``user``, or ``session`` where no history crosses sessions.
        control: What leaks, in a negative control: published, known to be wrong, never a headline. Else empty.
        needs: Columns of the interactions without which the rules mean nothing.
        samples: Whether targets are ranked among drawn negatives (schema ``Negatives``), not among all candidates.
        window: Rows before the target that a history may reach back; None: all.
        one_clock: Before and after are the same moment for everybody (the start of a session, where nobody crosses
            sessions), so no training row may be later than what is held out; else they are per user.
        promises_past: That training comes before what is held out is part of the rules. False where the parts come
            from elsewhere: data that come split, and published splits that do not keep to it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[Literal["ranking", "pointwise"]] = "ranking"
    grouped_by: ClassVar[Literal["user", "session"]] = "user"
    control: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    samples: ClassVar[bool] = False
    window: ClassVar[int | None] = None
    one_clock: ClassVar[bool] = False
    promises_past: ClassVar[bool] = True

    filter_seen: bool = Field(
        default=True, description="Items of a query's own history are not ranked; the target always is."
    )
    strict_time: bool = Field(
        default=False, description="A history ends before the target's second, not before its row."
    )

    @property
    def liked(self) -> pl.Expr:
        """Of the interactions (schema ``Interactions``), those that a history shows: all, or the positive ones."""
        return pl.lit(value=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the rules: equal digests mean comparable numbers."""
        rules = {"name": self.name, "kind": self.kind, "order": ORDER, "version": 1, **self.model_dump(mode="json")}
        return hashlib.sha256(json.dumps(rules, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def refusal(self, what: str) -> RequestError:
        """The error for interactions that lack what the rules need."""
        return RequestError(
            f"protocol '{self.name}' needs {what} and the interactions have none",
            "map the column, or use the protocol 'leave_one_out', which needs users and items alone",
        )

    @property
    def chooses(self) -> bool:
        """Whether its figures may choose what is served: not what leaks, nor a place among a few drawn candidates."""
        return not self.control and not self.samples

    def lacks(self, columns: AbstractSet[str]) -> str:
        """The first column that the rules need and data with these columns do not have; empty where they have all."""
        return next((name for name in self.needs if name not in columns), "")

    def split(self, interactions: pl.LazyFrame) -> pl.LazyFrame:
        """Assigns every interaction its part (schema ``Splits``).

        Sorted by (user, timestamp, row); where ``grouped_by`` is ``session``, by (session, timestamp, row) with the
        rows of no session last.

        Raises:
            RequestError: If the interactions lack what the rules need (times, parts, ratings, sessions).
        """
        ordered = in_order(interactions).with_columns(
            session=pl.lit(None, dtype=pl.Int64), label=pl.lit(None, dtype=pl.Boolean)
        )
        return self._assigned(ordered).select(Splits.column_names())

    @abstractmethod
    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        """``ordered`` (by user, timestamp, row) with ``split`` and ``target``, and where they apply, the rest."""

    def events(self, splits: pl.DataFrame, n_users: int, n_items: int) -> Events:
        """What a model may be fitted on: the rows of the training split and nothing else.

        Where ``grouped_by`` is ``session``, sessions take the place of users: their numbers and their count.
        """
        train = splits.filter(pl.col("split") == "train")
        sessions = self.grouped_by == "session"
        history = None
        if self.kind == "pointwise":
            _, first, lengths = self._histories(train, np.arange(len(train)))
            history = np.column_stack([first, first + lengths])
        return Events(
            user=train[self.grouped_by].cast(pl.Int32).to_numpy(),
            item=train["item"].to_numpy(),
            timestamp=times(train),
            label=None if history is None else train["label"].cast(pl.Float32).to_numpy(),
            n_users=_count(splits) if sessions else n_users,
            n_items=n_items,
            history=history,
        )

    def task(self, splits: pl.DataFrame, split: Held, n_items: int, negatives: pl.DataFrame | None = None) -> Task:
        """The queries and answers of ``split``; a query's id is the source row of its target.

        A history holds all rows of the user (of the session) before the target, for a test query also validation
        rows, never rows of a later split; in pointwise protocols the positive ones among them. Ranked are the items
        that occur in this split or an earlier one, so that what exists only in the test split cannot change a
        validation figure; with ``negatives`` (schema ``Negatives``, of a protocol that samples) those alone.
        """
        visible = up_to(splits, split)
        asked = np.flatnonzero((visible["target"] & (visible["split"] == split)).to_numpy())
        item = visible["item"].to_numpy()
        candidates = np.zeros(n_items + 1, dtype=np.bool_)
        candidates[item] = True
        pointwise = self.kind == "pointwise"
        queries = self.queries(visible, asked)
        return Task(
            split=split,
            queries=queries,
            target=item[asked],
            candidates=candidates,
            filter_seen=self.filter_seen,
            label=visible["label"].to_numpy()[asked].astype(np.bool_) if pointwise else None,
            among=None if negatives is None else _among(negatives, queries),
        )

    def judged(self, splits: pl.DataFrame, split: str, last: int) -> pl.DataFrame:
        """The judged rows of one part of a pointwise protocol, and what is labelled before each: liked or not.

        What is visible is what the histories of ``events`` and ``task`` show (window, strict time, parts); those keep
        of it what was liked.

        Args:
            splits: Schema ``Splits``.
            split: ``train``, whose rows are all judged, or ``validation`` or ``test``.
            last: Most rows before, the newest.

        Returns:
            ``row``, ``user``, ``item``, ``label`` and ``before``, source rows in order, the newest last.
        """
        visible = up_to(splits, split)
        wanted = visible["split"] == split
        asked = np.flatnonzero((wanted if split == "train" else wanted & visible["target"]).to_numpy())
        _, first, lengths = self._histories(visible, asked, np.arange(len(visible)))
        kept = np.minimum(lengths, last)
        ends = np.cumsum(kept)
        source = np.repeat(first + lengths - ends, kept) + np.arange(ends[-1] if len(ends) else 0)
        index = np.repeat(np.arange(len(asked)), kept)
        rows = pl.DataFrame({"index": index, "before": visible["row"].to_numpy()[source]})
        before = rows.group_by("index", maintain_order=True).agg("before")
        table = visible[asked].select("row", "user", "item", "label").with_row_index("index").cast({"index": pl.Int64})
        listed = pl.col("before").fill_null(pl.lit([], dtype=pl.List(pl.Int64)))
        return table.join(before, on="index", how="left", maintain_order="left").drop("index").with_columns(listed)

    def queries(self, visible: pl.DataFrame, asked: NDArray[np.int64]) -> Queries:
        """What is known before some rows: their histories, as ``task`` shows them.

        Args:
            visible: Rows of the splits, in their order, that a history may show.
            asked: int64 [q], the places in ``visible`` of the rows that are asked for.
        """
        shown, first, lengths = self._histories(visible, asked)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = shown[np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])]
        moments = times(visible)
        user = visible["user"].to_numpy()[asked]
        return Queries(
            query=visible["row"].to_numpy()[asked],
            user=np.zeros_like(user) if self.grouped_by == "session" else user,
            time=None if moments is None else moments[asked],
            items=visible["item"].to_numpy()[source],
            offsets=offsets,
        )

    def _histories(
        self, visible: pl.DataFrame, asked: NDArray[np.int64], shown: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The rows of ``visible`` that histories show, and the history of each row ``asked``: its first, its length.

        One rule for the queries of a task and for the labelled rows of training. Without ``shown`` histories show all
        rows, in pointwise protocols the positive ones.
        """
        group = visible[self.grouped_by].to_numpy()
        if shown is None:
            shown = np.arange(len(visible)) if self.kind == "ranking" else np.flatnonzero(visible["label"].to_numpy())
        begin = np.searchsorted(group, group[asked])
        if self.window is not None:
            begin = np.maximum(begin, asked - self.window)
        end = run_starts(visible, self.grouped_by)[asked] if self.strict_time else asked
        first = np.searchsorted(shown, begin)
        return shown, first, np.maximum(np.searchsorted(shown, end) - first, 0)


def _among(negatives: pl.DataFrame, queries: Queries) -> NDArray[np.int32]:
    """int32 [q, c]: the drawn items of each query, filled up with 0."""
    asked = pl.DataFrame({"query": queries.query})
    drawn = asked.join(negatives, on="query", how="left", maintain_order="left")["items"]
    if drawn.null_count():
        raise WeftError(
            f"{drawn.null_count()} queries have no drawn negatives: they were drawn for other splits",
            "make interactions.negatives again, or run weft again",
        )
    lengths = drawn.list.len().to_numpy()
    table = np.zeros((len(drawn), int(lengths.max(initial=0))), dtype=np.int32)
    table[np.arange(table.shape[1]) < lengths[:, None]] = drawn.explode().drop_nulls().to_numpy()
    return table


def _count(splits: pl.DataFrame) -> int:
    """Number of sessions; they are numbered from 1."""
    last = splits["session"].max()
    return last if isinstance(last, int) else 0
