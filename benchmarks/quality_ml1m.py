"""SASRec on MovieLens-1M as a user would run it: raw zip to leaderboard, one seed, settings chosen on validation.

    python -m benchmarks.quality_ml1m --source ml-1m.zip

Leave-one-out, full catalogue, seen items filtered. Stopped in the middle, it goes on from the last finished epoch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import duckdb

from benchmarks.machine import save

BOUND, TARGET = 0.170, 0.182
SYSTEMS = "popularity,recent_popularity,itemknn,sasrec"
QUESTION = """
select system, metric, k, split, value, ci_low, ci_high, n from reports.metrics
where dataset = 'ml-1m' and protocol = 'leave_one_out' and slice = 'all'
  and (metric = 'ndcg' and k = 10 or metric = 'hr' and k = 10 or metric = 'mrr' and k is null)
order by system, split, metric
"""


def main() -> None:
    """Runs, reads the report back from the artifacts, prints it and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="the zip of MovieLens-1M")
    parser.add_argument("--storage", type=Path, default=Path(__file__).parent / ".storage")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    storage = arguments.storage.resolve()
    weft = [str(Path(sys.executable).parent / "weft")]
    start = time.perf_counter()
    subprocess.run(
        [*weft, "run", "--dataset", "ml-1m", "--source", arguments.source, "--systems", SYSTEMS,
         "--seeds", arguments.seed, "--storage", storage],
        check=True,
    )  # fmt: skip
    minutes = (time.perf_counter() - start) / 60
    answer = subprocess.run(
        [*weft, "query", QUESTION, "--storage", storage, "--format", "json"], check=True, capture_output=True, text=True
    )
    rows = json.loads(answer.stdout)
    leaf = next(storage.glob(f"behaviour/sasrec/dataset=ml-1m/**/seed={arguments.seed}/data.parquet"))
    history = leaf.as_posix().replace("/behaviour/sasrec/", "/behaviour/sasrec_history/")
    with duckdb.connect() as connection:
        entries = connection.execute("select key::varchar, value::varchar from parquet_kv_metadata(?)", [str(leaf)])
        footer = {name.removeprefix("weft."): value for name, value in entries.fetchall()}
        epochs = connection.execute("select count(*), max(epoch) filter (where best) from read_parquet(?)",
                                    [history]).fetchone()  # fmt: skip
    value = next(r["value"] for r in rows if (r["system"], r["metric"], r["split"]) == ("sasrec", "ndcg", "test"))
    result = {
        "ndcg_10": value,
        "bound": BOUND,
        "target": TARGET,
        "holds": value >= BOUND,
        "epochs": epochs[0],
        "best_epoch": epochs[1],
        "minutes": round(minutes, 1),
        "seconds_fit": footer.get("seconds_fit"),
        "peak_mb": footer.get("peak_mb"),
        "parameters": footer.get("parameters"),
        "metrics": rows,
    }
    path = save("quality_ml1m", result)
    print(json.dumps({key: result[key] for key in result if key != "metrics"}, indent=1))
    print(f"kept in {path}")
    sys.exit(0 if result["holds"] else 1)


if __name__ == "__main__":
    main()
