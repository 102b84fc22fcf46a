"""Rows of a source that keep the rules, read as a stream into narrow columns: 20 bytes for each row.

Ids are codes of categories, times and rows 32-bit numbers; an optional column without values takes no memory.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from weft.data.numbering import Codes, Mask
from weft.data.rules import CONTROL, RULE, CleaningRules, event_rules, first_broken
from weft.progress import NoProgress, Progress

TEXTS = ("user_id", "item_id", "domain", "session_id", "part")
_OPTIONAL = ("timestamp", "rating", "domain", "session_id", "part")
_BATCH = 131_072


def codes(ids: pl.Series) -> Codes:
    """The numbers that stand for the categories."""
    return ids.to_physical().to_numpy()


def read(
    raw: pl.LazyFrame, rules: CleaningRules, kinds: dict[str, pl.Categorical], progress: Progress | None
) -> tuple[dict[str, pl.Series], pl.DataFrame]:
    """The rows that keep every rule, as narrow columns by ascending row; and the others' rows and rules."""
    timed = _has(raw, "timestamp")
    plan = raw.select(
        pl.col("row").cast(pl.UInt32),
        *(pl.col(name).cast(kind) for name, kind in kinds.items()),
        pl.col("timestamp").cast(pl.UInt32, strict=False),
        pl.col("rating").cast(pl.Float32),
        first_broken(event_rules(rules, timed=timed)),
    )
    columns = {name: kind for name, kind in plan.collect_schema().items() if name != "rule"}
    good = {name: [pl.Series(name, [], kind)] for name, kind in columns.items()}
    broken = [pl.DataFrame(schema={"row": pl.UInt32, "rule": RULE})]
    rows = None if progress is None else raw.select(pl.len()).collect(engine="streaming").item()
    with (progress or NoProgress()).step("clean", rows) as step:
        for batch in plan.collect_batches(chunk_size=_BATCH, maintain_order=True, engine="streaming"):
            kept = batch
            if batch["rule"].null_count() < batch.height:
                broken.append(batch.filter(pl.col("rule").is_not_null()).select("row", "rule"))
                kept = batch.filter(pl.col("rule").is_null())
            for name, parts in good.items():
                parts.append(_without_memory(kept[name]))
            step.advance(batch.height)
    events = {name: _joined(good.pop(name), kind) for name, kind in columns.items()}
    if not events["row"].is_sorted():
        order = events["row"].arg_sort()
        events = {name: column.gather(order) for name, column in events.items()}
    return events, pl.concat(broken)


def _has(raw: pl.LazyFrame, name: str) -> bool:
    """Whether the column has a value. The first rows are asked first: a plan over a whole file reads much of it."""
    plans = (part.select(name).drop_nulls().head(1) for part in (raw.head(1_000), raw))
    return any(plan.collect(engine="streaming").height for plan in plans)


def _without_memory(column: pl.Series) -> pl.Series:
    """A column of nulls as one that takes no memory; any other as it is."""
    return column.cast(pl.Null) if column.null_count() == len(column) else column


def _joined(parts: list[pl.Series], kind: pl.DataType) -> pl.Series:
    """Parts in one piece; an optional column in which no part has a value keeps taking no memory."""
    if parts[0].name in _OPTIONAL and all(part.dtype == pl.Null for part in parts[1:]):
        return pl.concat(part.cast(pl.Null) for part in parts)
    return pl.concat((part.cast(kind) for part in parts), rechunk=True)


def unprintable(ids: pl.Series) -> Mask:
    """Which ids hold a control character; asked of each different id once."""
    different = ids.unique()
    odd = codes(different.filter(different.cast(pl.String).str.contains(CONTROL)))
    return np.isin(codes(ids), odd) if len(odd) else np.zeros(len(ids), np.bool_)
