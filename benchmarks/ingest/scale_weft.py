"""weft's library calls on a large log, as the assets make them: every table goes through storage and back."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.ingest.outcome import report
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data.cleaning import clean
from weft.data.registry import specify
from weft.data.sources import open_source
from weft.evaluation.protocols import protocol
from weft.progress import LogProgress

COLUMNS = {"interactions": {"user": "user", "item": "item", "timestamp": "timestamp", "rating": "rating"}}
RULES = {"rating_min": 0.5, "rating_max": 5.0, "min_item_events": 5, "min_user_events": 5}
PROTOCOL = "leave_one_out"


def main() -> None:
    """Reads ``argv[1]`` (``.csv`` or ``.parquet``), writes artifacts under ``argv[2]``."""
    source, folder = sys.argv[1:]
    report(lambda: ingest(source, folder))


def ingest(path: str, folder: str) -> dict[str, int]:
    """Raw table, cleaned and numbered interactions, users, items, rejected rows and splits."""
    progress = LogProgress(partial(print, file=sys.stderr, flush=True), interval=5.0)
    store, cell = ArtifactStore(folder), Cell("large")
    spec = specify(folder, "large", source=path, mapping=COLUMNS, rules=RULES)
    source = open_source(spec)
    source.check()
    store.write("interactions.raw_interactions", cell, source.interactions(), progress=progress)
    store.write("interactions.raw_items", cell, source.items())
    raw = [store.scan(f"interactions.{name}", cell) for name in ("raw_interactions", "raw_items")]
    cleaned = clean(raw[0], raw[1], spec.rules, progress=progress)
    for name in ("interactions", "users", "items", "rejected"):
        store.write(f"interactions.{name}", cell, getattr(cleaned, name), progress=progress)
    counts = {"users": len(cleaned.users), "items": len(cleaned.items)}
    del cleaned
    splits = protocol(PROTOCOL).split(store.scan("interactions.interactions", cell)).collect()
    store.write("interactions.splits", Cell("large", PROTOCOL), splits, progress=progress)
    return {"rows": len(splits), "test": int((splits["split"] == "test").sum()), **counts}


if __name__ == "__main__":
    main()
