"""The models that SCoRe compares with, on MovieLens-1M by CoLLM's months: AUC and UAUC at least as published.

python -m benchmarks.quality_collm_field --source ml-1m.zip
"""

from __future__ import annotations

from benchmarks.quality import Case, main

CASE = Case(
    name="quality_collm_field",
    dataset="ml-1m",
    protocol="pointwise_collm_months",
    bounds={
        "mf_bpr": {("auc", None): 0.60, ("uauc", None): 0.58},
        "lightgcn": {("auc", None): 0.61, ("uauc", None): 0.63},
        "din": {("auc", None): 0.63, ("uauc", None): 0.59},
        "gru4rec": {("auc", None): 0.69, ("uauc", None): 0.66},
        "core": {("auc", None): 0.59, ("uauc", None): 0.56},
    },
    beside=("popularity", "itemknn"),
)

if __name__ == "__main__":
    main(CASE)
