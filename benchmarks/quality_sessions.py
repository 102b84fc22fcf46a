"""The models that LLM4SBR builds on, on its MovieLens-1M sessions: P@20 and MRR@20 at least as published, in shares.

python -m benchmarks.quality_sessions --source ml-1m.zip
"""

from __future__ import annotations

from benchmarks.quality import Case, main

CASE = Case(
    name="quality_sessions",
    dataset="ml-1m",
    protocol="paper_sessions_user_order",
    bounds={
        "gru4rec": {("hr", 20): 0.1472, ("mrr", 20): 0.0357},
        "sasrec": {("hr", 20): 0.0647, ("mrr", 20): 0.0142},
        "srgnn": {("hr", 20): 0.1227, ("mrr", 20): 0.0298},
        "tagnn": {("hr", 20): 0.1028, ("mrr", 20): 0.0223},
        "gcegnn": {("hr", 20): 0.0967, ("mrr", 20): 0.0360},
        "dhcn": {("hr", 20): 0.2338, ("mrr", 20): 0.0509},
    },
    beside=("popularity", "itemknn", "vsknn"),
)

if __name__ == "__main__":
    main(CASE)
