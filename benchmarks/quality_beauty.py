"""SASRec on Amazon Beauty (5-core sequences): leave-one-out, full catalogue, seen items filtered, one seed.

python -m benchmarks.quality_beauty --source amazon-beauty
"""

from __future__ import annotations

from benchmarks.quality import Case, main

CASE = Case(
    name="quality_beauty",
    dataset="amazon-beauty-sequences",
    protocol="leave_one_out",
    bounds={"sasrec": {("ndcg", 10): 0.050}},
    beside=("popularity", "itemknn"),
    targets={"sasrec": 0.0531},
)

if __name__ == "__main__":
    main(CASE)
