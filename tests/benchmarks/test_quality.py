"""What a case of quality tells of a run, and when it holds."""

from dataclasses import replace
from pathlib import Path

from benchmarks.quality import Case, told
from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell

CASE = Case(
    name="tiny",
    dataset="tiny",
    protocol="leave_one_out",
    bounds={"gru4rec": {("ndcg", 10): 0.0, ("hr", 20): 0.0}, "stamp": {}},
    beside=("popularity",),
)
QUICK = {
    "behaviour__gru4rec": {"config": {"epochs": 2, "width": 8, "hidden": 8}},
    "behaviour__stamp": {"config": {"epochs": 1, "width": 8}},
}


def test_a_case_tells_the_figures_of_the_report_and_the_fit_and_fails_where_one_bound_is_missed(
    tiny_storage: Path,
) -> None:
    assert make(tiny_storage, "popularity", *CASE.bounds, protocols=["leave_one_out"], ops=QUICK).success
    found = told(CASE, tiny_storage, "0")
    metrics = ArtifactStore(str(tiny_storage)).read("reports.metrics", Cell("tiny"))
    report = metrics.filter(system="gru4rec", split="test", slice="all", metric="ndcg", k=10).row(0, named=True)
    ndcg = found["figures"]["gru4rec ndcg@10"]
    assert (ndcg["value"], ndcg["ci"]) == (report["value"], [report["ci_low"], report["ci_high"]])
    assert found["holds"]
    assert {row["system"] for row in found["metrics"]} == {"popularity", "gru4rec", "stamp"}
    assert found["figures"]["stamp ndcg@10"]["bound"] is None  # told, and holds nothing up
    fit = found["fits"]["gru4rec"]
    assert (fit["epochs"], fit["device"]) == (2, "cpu")
    assert float(fit["seconds_fit"]) > 0

    beyond = replace(CASE, bounds=dict(CASE.bounds, gru4rec={("ndcg", 10): 0.0, ("hr", 20): 1.01}))
    missed = told(beyond, tiny_storage, "0")
    assert not missed["holds"]
    assert [name for name, figure in missed["figures"].items() if not figure["holds"]] == ["gru4rec hr@20"]
