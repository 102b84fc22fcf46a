"""weft's library calls: read, clean, number, split; every table checked against its schema and written."""

from __future__ import annotations

import sys

from benchmarks.ingest.outcome import report
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.data.cleaning import clean
from weft.data.registry import specify
from weft.data.sources import open_source
from weft.evaluation.protocols import protocol


def main() -> None:
    """Reads the zip ``argv[1]``, writes artifacts under ``argv[2]``."""
    zipped, folder = sys.argv[1:]

    def work() -> dict[str, int]:
        store = ArtifactStore(folder)
        spec = specify(folder, "ml-1m", source=zipped)
        source = open_source(spec)
        source.check()
        cleaned = clean(source.interactions(), source.items().lazy(), spec.rules)
        splits = protocol("leave_one_out").split(cleaned.interactions.lazy()).collect()
        for name in ("interactions", "users", "items", "rejected"):
            store.write(f"interactions.{name}", Cell("ml-1m"), getattr(cleaned, name))
        store.write("interactions.splits", Cell("ml-1m", "leave_one_out"), splits)
        return {"rows": len(splits), "test": int((splits["split"] == "test").sum())}

    report(work)


if __name__ == "__main__":
    main()
