"""A data set under one protocol, read, cleaned and split by weft's own library, written once for all libraries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from weft.data.cleaning import clean
from weft.data.registry import BUILT_IN
from weft.data.sources import open_source
from weft.evaluation.protocols import protocol

_PARTS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Split:
    """The table (schema ``Splits``, sorted by user and time) and the sizes of its numbering."""

    table: pl.DataFrame
    n_users: int
    n_items: int


def split(source: Path, *, min_item_events: int, dataset: str = "ml-1m", rules: str = "leave_one_out") -> Split:
    """Reads the files of a built-in data set and splits it.

    Args:
        source: Zip or folder.
        min_item_events: Items with fewer are left out. 0 is the product's way; the peers cannot be given items without
            an event (177 films of MovieLens-1M), so that a comparison asks for 1.
        dataset: Its name.
        rules: The protocol.
    """
    spec = BUILT_IN[dataset].model_copy(update={"source": str(source), "url": None, "checksum": None})
    opened, cleaning = open_source(spec), spec.rules.model_copy(update={"min_item_events": min_item_events})
    cleaned = clean(opened.interactions(), opened.items().lazy(), cleaning)
    table = protocol(rules).split(cleaned.interactions.lazy()).collect()
    return Split(table, len(cleaned.users), len(cleaned.items))


def write(data: Split, path: Path) -> None:
    """The arrays of ``workload.Histories``."""
    part = data.table["split"].cast(pl.String).replace_strict(_PARTS, return_dtype=pl.Int8).to_numpy()
    user, item = data.table["user"].to_numpy(), data.table["item"].to_numpy()
    np.savez(path, user=user, item=item, part=part, n_items=data.n_items)
