"""Which systems a run makes: by name, or by the name of a set."""

import inspect
from pathlib import Path

import dagster as dg
import pytest

from pipelines import jobs
from pipelines.cli import invoke
from pipelines.commands.run import run
from pipelines.definitions import build_defs
from pipelines.runs import BOUNDS, CONTENT, SETS, SYSTEMS, chosen_systems
from weft.data.registry import DatasetSpec, specify
from weft.errors import RequestError
from weft.models import settings
from weft.models.registry import MODELS, Entry


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetSpec:
    """A simulated shop, and a model in the registry that is no main one."""
    further = Entry("further", "One more", "nowhere:Further", settings.PopularitySettings, group="behaviour")
    monkeypatch.setitem(MODELS, "further", further)
    return specify(str(tmp_path), "shop", format="storefront")


def test_a_run_that_names_no_systems_makes_the_main_ones_and_does_not_grow_with_the_field(spec: DatasetSpec) -> None:
    assert inspect.signature(run).parameters["systems"].default == "main"
    assert chosen_systems("main", spec) == [
        "popularity", "recent_popularity", "itemknn", "sasrec", "oracle", "ceiling", "content", "cit_rec",
    ]  # fmt: skip


def test_baselines_are_every_model_and_the_bounds(spec: DatasetSpec) -> None:
    assert chosen_systems("baselines", spec) == [*MODELS, "oracle", "ceiling"]
    assert "further" in MODELS


def test_all_is_everything_and_papers_are_the_systems_of_papers(spec: DatasetSpec) -> None:
    assert chosen_systems("all", spec) == [*MODELS, "oracle", "ceiling", "content", "cit_rec"]
    assert chosen_systems("papers", spec) == ["cit_rec"]


def test_no_system_has_the_name_of_a_set() -> None:
    assert SETS.keys().isdisjoint([*MODELS, *BOUNDS, *SYSTEMS, CONTENT])


def test_sets_and_names_are_joined_and_none_comes_twice(spec: DatasetSpec) -> None:
    assert chosen_systems("further, papers,further", spec) == ["further", "cit_rec"]


def test_sets_leave_out_what_cannot_work_on_a_data_set(tmp_path: Path) -> None:
    plain = specify(str(tmp_path), "mine", source="a.tsv", format="sequence-tsv")
    assert chosen_systems("main", plain) == ["popularity", "itemknn", "sasrec", "content"]
    assert {"recent_popularity", "oracle", "ceiling"}.isdisjoint(chosen_systems("baselines", plain))
    with pytest.raises(RequestError, match="names no system"):
        chosen_systems("papers", plain)


def test_the_job_baselines_fits_every_model() -> None:
    job = build_defs().resolve_job_def("baselines")
    keys = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert {f"{entry.group}/{entry.name}" for entry in MODELS.values()} <= keys
    assert {"baselines/oracle_rankings", "reports/leaderboard"} <= keys
    assert not {key for key in keys if key.startswith(("cit_rec/", "content/", "house/"))}
    assert jobs.of_systems("sasrec").resolve(build_defs().resolve_asset_graph()) <= set(
        job.asset_layer.selected_asset_keys
    )


def test_settings_are_tried_by_the_job_tune_alone() -> None:
    defs, trials = build_defs(), dg.AssetKey(["behaviour", "trials"])
    jobs_with = {job.name for job in defs.resolve_all_job_defs() if trials in job.asset_layer.selected_asset_keys}
    assert jobs_with - {"__ASSET_JOB"} == {"tune"}


def test_the_list_of_systems_says_what_each_set_holds(tiny_storage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["systems"]) == 0
    told = dict(line.split("  ", 1) for line in capfd.readouterr().out.splitlines() if line.startswith("--systems"))
    assert told["--systems papers"] == "cit_rec"
    assert set(MODELS) <= set(told["--systems baselines"].split(", "))
