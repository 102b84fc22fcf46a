"""SASRec, BERT4Rec and GRU4Rec on MovieLens-1M: leave-one-out, full catalogue, seen items filtered, one seed.

python -m benchmarks.quality_ml1m --source ml-1m.zip
"""

from __future__ import annotations

from benchmarks.quality import Case, main

CASE = Case(
    name="quality_ml1m",
    dataset="ml-1m",
    protocol="leave_one_out",
    bounds={"sasrec": {("ndcg", 10): 0.180}, "bert4rec": {("ndcg", 10): 0.150}, "gru4rec": {}},
    beside=("popularity", "recent_popularity", "itemknn"),
    targets={"sasrec": 0.190, "gru4rec": 0.150},
)

if __name__ == "__main__":
    main(CASE)
