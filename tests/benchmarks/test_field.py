"""The table of the whole field, from the reports of a run."""

from pathlib import Path

import pytest

from benchmarks import field
from tests.pipelines.running import make


def test_the_table_tells_every_system_of_either_kind_with_its_figures_and_cost(
    tiny_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(field, "DATASET", "tiny")
    assert make(tiny_storage, "popularity", "itemknn", protocols=field.PROTOCOLS).success
    rows = field.told(tiny_storage)
    assert {(row["protocol"], row["system"]) for row in rows} == {
        (protocol, system) for protocol in field.PROTOCOLS for system in ("popularity", "itemknn")
    }
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    assert all(row["parameters"] > 0 and row["ms_per_user"] > 0 for row in rows)
    about = {"commit": "c0ffee", "processor": "a processor", "cores": 2}
    page = field.text({"minutes": 1.5, "rows": rows, "machine": about})
    assert "1.5 minutes of at most 40" in page
    assert page.count("| itemknn |") == page.count("| popularity |") == 2
    assert "| `leave_one_out` | NDCG@10 [95 %] |" in page
    assert "| `pointwise_time` | AUC [95 %] |" in page


def test_a_storage_in_which_something_stands_is_no_place_to_measure_time(tmp_path: Path) -> None:
    (tmp_path / "interactions").mkdir()
    with pytest.raises(SystemExit, match="not empty"):
        field.run(tmp_path / "ml-100k.zip", tmp_path)
