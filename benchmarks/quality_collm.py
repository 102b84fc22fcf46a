"""SASRec on MovieLens-1M, liked or not by CoLLM's months: AUC and UAUC over all 7,331 test rows, warm and cold beside.

python -m benchmarks.quality_collm --source ml-1m.zip
"""

from __future__ import annotations

from benchmarks.quality import Case, main

CASE = Case(
    name="quality_collm",
    dataset="ml-1m",
    protocol="pointwise_collm_months",
    bounds={"sasrec": {("auc", None): 0.69, ("uauc", None): 0.66}},
    beside=("popularity", "itemknn"),
    targets={"sasrec": 0.70},
)

if __name__ == "__main__":
    main(CASE)
