"""A small data set of the test's own: a file of purchases that may grow, with or without times."""

from pathlib import Path

import numpy as np
import polars as pl

from weft.data import registry

USERS = 30


def open_shop(storage: Path, items: int = 15, *, times: bool = True) -> None:
    """(Re)writes the purchases, over ``items`` items, and registers them as the data set ``shop``."""
    rng = np.random.default_rng(0)
    at = np.sort(rng.integers(1, 10_000, 500))
    rows = pl.DataFrame({"user": rng.integers(1, USERS + 1, 500), "item": rng.integers(1, items + 1, 500), "at": at})
    rows = rows.unique(["user", "at"] if times else ["user", "item"], keep="first", maintain_order=True)
    file = storage.parent / "purchases.csv"
    rows.drop([] if times else ["at"]).write_csv(file)
    mapping = {"interactions": {"timestamp": "at"} if times else {}}
    spec = registry.specify(str(storage), "shop", format="tabular", source=str(file), mapping=mapping)
    registry.save(str(storage), spec)
