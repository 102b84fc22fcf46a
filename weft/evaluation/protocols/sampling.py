"""Protocols that rank the target among a few drawn items, as many papers do. Easier than a full ranking, never ours.

Negatives are drawn once, stored (artifact ``interactions.negatives``) and read back. A fit never sees them: an epoch is
selected by the full ranking of validation, because ``task`` without them ranks all candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from weft.data.sequences import Task
from weft.evaluation.protocols.base import Held, Protocol
from weft.evaluation.protocols.leave_one_out import leave_last
from weft.evaluation.protocols.predefined import Predefined
from weft.schemas import Negatives


class Sampled(Protocol):
    """What they share: uniform items without replacement, never the target or an item of the query's history."""

    samples: ClassVar[bool] = True
    count: ClassVar[int]

    candidate_seed: int = Field(default=0, ge=0, description="Seed of the drawn candidates.")

    def negatives(self, splits: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
        """Draws for every target of both held-out splits (schema ``Negatives``).

        What is drawn for a query depends on the seed, its row, its history and the pool alone. The pool holds the
        items that occur in the query's split or an earlier one, in the target's domain where items have domains.

        Args:
            splits: Schema ``Splits`` of this protocol.
            items: Columns ``item`` and ``domain`` of the catalogue.
        """
        n_items = int(items["item"].max() or 0)  # type: ignore[arg-type]
        codes = items.sort("item")["domain"].fill_null("").rank("dense").to_numpy()
        domain = np.concatenate([[0], codes])
        held: tuple[Held, ...] = ("validation", "test")
        tables = []
        for split in held:
            task = self.task(splits, split, n_items)
            drawn = pl.Series("items", list(self._draw(task, domain)), dtype=pl.List(pl.Int32))
            tables.append(pl.DataFrame({"query": task.queries.query, "items": drawn}).with_columns(split=pl.lit(split)))
        return Negatives.cast(pl.concat(tables).select(Negatives.column_names()))

    def _draw(self, task: Task, domain: NDArray[np.int64]) -> Iterator[list[int]]:
        allowed = np.flatnonzero(task.candidates)
        pools = {code: allowed[domain[allowed] == code] for code in np.unique(domain[allowed])}
        offsets = task.queries.offsets
        for place, (query, target) in enumerate(zip(task.queries.query, task.target, strict=True)):
            taken = np.append(task.queries.items[offsets[place] : offsets[place + 1]], target)
            pool = pools[domain[target]]
            drawn = np.random.default_rng([self.candidate_seed, query]).choice(
                pool, min(len(pool), self.count + len(taken)), replace=False
            )
            yield drawn[~np.isin(drawn, taken)][: self.count].tolist()


class Paper999Sampled(Sampled):
    """One target against 999: the rows of leave-one-out, or the source's own parts where the data come split.

    As in the tables of C2DSR and LLM-EMF, but drawn once, without replacement and without items of the history, with
    mid-rank ties. (Their optimistic rank is 1 + ``better``.)
    """

    name: ClassVar[str] = "paper_999_sampled"
    title: ClassVar[str] = "Last item against 999 drawn items of its domain"
    count: ClassVar[int] = 999
    promises_past: ClassVar[bool] = False

    def _assigned(self, ordered: pl.LazyFrame) -> pl.LazyFrame:
        if ordered.select(pl.col("part").count()).collect().item():
            return Predefined(targets="last")._assigned(ordered)  # noqa: SLF001 - the same rules on the same rows
        return ordered.with_columns(split=leave_last()).with_columns(target=pl.col("split") != "train")
