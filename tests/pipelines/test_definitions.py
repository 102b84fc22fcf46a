"""The definitions: what there is, how fast it loads, and what the nightly schedule asks for."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pipelines.cli import invoke
from pipelines.definitions import build_defs
from pipelines.instance import register_datasets
from pipelines.schedules import nightly
from pipelines.sensors import datasets
from weft.data import registry
from weft.models.registry import MODELS
from weft.models.settings import FitSettings
from weft.systems.registry import OUTCOMES

REPOSITORY = Path(__file__).parents[2]

GROUPS = {
    "interactions": {"raw_interactions", "raw_items", "raw_images", "truth", "interactions", "users", "items",
                     "rejected", "images", "splits", "negatives"},
    "behaviour": {"item_embeddings", "user_embeddings", "user_states", "user_states_history", "trials"},
    "baselines": {"oracle_rankings", "oracle_scored_pairs", "ceiling_rankings", "ceiling_scored_pairs"},
    "house": {"language_model", "language_model_history", "image_text_model", "image_text_model_history"},
    "content": {"enrichment_prompts", "enrichment_generations", "item_enrichments", "intent_prompts",
                "intent_generations", "intent_inferences", "localized_intents", "assessment_prompts",
                "assessment_generations", "self_assessments", "image_embeddings", "text_embeddings", "llm_embeddings",
                "sentence_embeddings"},
    "alignment": {"aligned_items", "aligned_items_history", "heads", "quality"},
    "cit_rec": {"prompts", "adapter", "adapter_history", "projections", "rankings", "scored_pairs"},
    "reports": {"card", "metrics", "comparisons", "leaderboard", "ablations", "cost"},
    "serving": {"recommendations"},
}  # fmt: skip
"""What there is besides the stages of the models."""


def of_models(group: str) -> set[str]:
    """What the models of a group make: the fitted model, the history of its fit if it has one, its outcomes."""
    return {
        e.name + part
        for e in MODELS.values()
        if e.group == group
        for part in ["", *(["_history"] if issubclass(e.settings, FitSettings) else [])]
        + [f"_{OUTCOMES[kind]}" for kind in e.kinds]
    }


def test_every_asset_stands_in_the_group_of_its_key_with_a_description_and_kinds() -> None:
    specs = build_defs().resolve_all_asset_specs()
    found: dict[str, set[str]] = {}
    for spec in specs:
        group, name = spec.key.path
        assert spec.group_name == group
        assert spec.description, spec.key
        assert "parquet" in spec.kinds, spec.key
        shared = group == "house"  # every data set reads the same ones
        assert spec.partitions_def == (None if shared else dg.DynamicPartitionsDefinition(name="dataset"))
        found.setdefault(group, set()).add(name)
    assert found == {group: own | of_models(group) for group, own in GROUPS.items()}
    assert {"sasrec", "sasrec_history", "sasrec_rankings", "sasrec_scored_pairs"} <= found["behaviour"]
    assert {"popularity", "popularity_rankings", "popularity_scored_pairs"} <= found["baselines"]
    assert "popularity_history" not in found["baselines"]


def test_every_fit_waits_for_the_gpu_pool() -> None:
    graph = build_defs().resolve_asset_graph()
    pooled = {key.to_user_string() for key in graph.get_all_asset_keys() if "gpu" in graph.get(key).pools}
    assert {"behaviour/sasrec", "behaviour/sasrec_history", "behaviour/item_embeddings"} <= pooled
    assert not {key for key in pooled if key.endswith(("_rankings", "_prompts", "_enrichments", "_assessments"))}
    assert {"house/language_model", "content/intent_generations", "content/image_embeddings"} <= pooled
    assert {"content/intent_inferences", "content/localized_intents"} <= pooled, "they embed what was answered"
    assert {"alignment/aligned_items", "behaviour/user_states", "cit_rec/adapter", "cit_rec/scored_pairs"} <= pooled
    assert "cit_rec/rankings" in pooled, "a language model scores"
    assert "cit_rec/prompts" not in pooled


def test_the_jobs_are_there_and_their_configuration_is_valid_as_it_stands() -> None:
    defs = build_defs()
    for name in ("ingest", "features", "baselines", "sasrec", "cit_rec", "all_systems", "nightly_retrain", "tune"):
        dg.validate_run_config(defs.resolve_job_def(name), {})


def test_definitions_load_in_under_three_seconds_without_torch(tmp_path: Path) -> None:
    # Compiled modules, as after any first start; the processor's time, because other tests run beside this one.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    code = (
        "import json, sys, time; start = time.process_time(); import pipelines.definitions;"
        "print(json.dumps([time.process_time() - start, sorted(set(sys.modules) & set(sys.argv[1:]))]))"
    )
    heavy = ["torch", "transformers", "open_clip", "sentence_transformers", "altair", "pandas"]
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code, *heavy], env=environment, cwd=REPOSITORY, check=True,
                              capture_output=True, text=True)  # fmt: skip
    seconds, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    assert seconds < 3


def test_the_shipped_instance_file_is_the_one_in_the_root() -> None:
    assert (REPOSITORY / "dagster.yaml").read_text() == (REPOSITORY / "pipelines" / "dagster.yaml").read_text()
    limits = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    assert limits["concurrency"]["pools"]["default_limit"] == 1
    assert limits["telemetry"]["enabled"] is False


def test_one_night_retrains_every_data_set_in_production_and_no_other(tiny_storage: Path) -> None:
    storage = str(tiny_storage)
    registry.save(storage, registry.specify(storage, "tiny", production=True))
    registry.save(storage, registry.specify(storage, "storefront", production=False))
    assert (nightly.cron_schedule, nightly.default_status) == ("0 2 * * *", dg.DefaultScheduleStatus.STOPPED)
    defs = build_defs(base=storage)
    (request,) = tick(defs).run_requests or []
    assert (request.partition_key, request.run_key) == ("tiny", "2026-11-21|tiny")
    assert request.tags["dagster/partition"] == "tiny"
    job = defs.resolve_job_def("nightly_retrain")
    keys = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert {"interactions/splits", "behaviour/sasrec", "reports/leaderboard", "serving/recommendations"} <= keys


def test_nothing_in_production_is_nothing_to_do(tiny_storage: Path) -> None:
    registry.save(str(tiny_storage), registry.specify(str(tiny_storage), "storefront", production=False))
    assert not tick(build_defs(base=str(tiny_storage))).run_requests


def tick(defs: dg.Definitions) -> Any:
    """What the schedule asks for in one night."""
    two = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
    repository = defs.get_repository_def()
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(instance, scheduled_execution_time=two, repository_def=repository) as context,
    ):
        return nightly.evaluate_tick(context)


def test_a_data_set_becomes_a_partition_where_weft_did_not_start_the_instance(tiny_storage: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first = datasets(dg.build_sensor_context(instance=instance))
        assert isinstance(first, dg.SensorResult)
        (request,) = first.dynamic_partitions_requests or []
        assert set(request.partition_keys) == {*registry.BUILT_IN, "tiny"}
        register_datasets(instance, str(tiny_storage))
        assert isinstance(datasets(dg.build_sensor_context(instance=instance)), dg.SkipReason)


@pytest.mark.parametrize("key", ["../../evil", "..", "Upper", "a/b", ""])
def test_a_partition_key_that_would_leave_the_storage_is_refused_when_it_is_added(
    key: str, tiny_storage: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["datasets", "add", key, "--format", "storefront"]) == 2
    assert "not allowed" in capfd.readouterr().err
    assert not list(tiny_storage.parent.rglob("*evil*"))
