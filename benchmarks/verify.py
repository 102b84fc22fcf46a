"""The measurements that take hours: models on public data over several seeds, the field, CIT-Rec, the large storefront.

    WEFT_TEST_DATA=folder-with-the-public-data python -m benchmarks.verify

Each result is kept as small JSON under ``benchmarks/results``; a measurement that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import (
    cit_rec_ml100k,
    cit_rec_storefront,
    field,
    quality_beauty,
    quality_collm,
    quality_collm_field,
    quality_ml1m,
    quality_sessions,
)
from benchmarks.machine import RESULTS, save
from benchmarks.quality import Case

SEEDS = ("0", "1", "2")
STORAGE = Path(__file__).parent / ".storage"


def over_seeds(case: Case, source: Path) -> bool:
    """The figures of a case for each seed: every one must hold its bounds."""
    figures, held = {}, True
    for seed in SEEDS:
        command = [sys.executable, "-m", f"benchmarks.{case.name}", "--source", str(source), "--seed", seed]
        kept = RESULTS / f"{case.result(seed)}.json"
        kept.unlink(missing_ok=True)  # a run that fails must not leave the last one's figure
        held &= subprocess.run(command, check=False).returncode == 0
        if kept.exists():
            figures[seed] = json.loads(kept.read_text())["figures"]
    print(f"kept in {save(f'{case.name}_seeds', {'figures': figures, 'holds': held})}")
    return held


def alone(name: str) -> bool:
    """A measurement that keeps its own figures and says by its exit status whether its bounds hold."""
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode == 0


def large_storefront() -> bool:
    """A million simulated interactions from nothing to recommendations by popularity and ItemKNN."""
    weft = str(Path(sys.executable).parent / "weft")
    base = ["--storage", str(STORAGE)]
    start = time.perf_counter()
    added = subprocess.run(
        [
            weft,
            "datasets",
            "add",
            "storefront-large",
            "--format",
            "storefront",
            "--set",
            "settings.preset=large",
            *base,
        ],
        check=False,
    )
    ran = subprocess.run(
        [weft, "run", "--dataset", "storefront-large", "--systems", "popularity,itemknn,oracle", *base], check=False
    )
    held = added.returncode == ran.returncode == 0
    minutes = round((time.perf_counter() - start) / 60, 1)
    print(f"kept in {save('storefront_large', {'minutes': minutes, 'holds': held})}")
    return held


def main() -> None:
    """Runs all of them; the exit code says whether every bound held."""
    folder = os.environ.get("WEFT_TEST_DATA")
    if not folder:
        sys.exit("set WEFT_TEST_DATA to the folder that holds ml-1m.zip, ml-100k.zip, the posters and amazon-beauty")
    data = Path(folder)
    held = [
        over_seeds(quality_ml1m.CASE, data / "ml-1m.zip"),
        over_seeds(quality_collm.CASE, data / "ml-1m.zip"),
        over_seeds(quality_collm_field.CASE, data / "ml-1m.zip"),
        over_seeds(quality_sessions.CASE, data / "ml-1m.zip"),
        over_seeds(quality_beauty.CASE, data / "amazon-beauty"),
        alone(field.NAME),
        alone(cit_rec_storefront.NAME),
        alone(cit_rec_ml100k.NAME),
        large_storefront(),
    ]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
