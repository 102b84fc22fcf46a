"""Content of a small data set, made by house models that are trained in seconds and know next to nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.partitions import DATASETS
from pipelines.definitions import build_defs

TINY_HOUSE = {
    "house__language_model": {"config": {"works": 60, "layers": 1, "width": 32, "heads": 2, "epochs": 1}},
    "house__image_text_model": {
        "config": {"drawings": 64, "epochs": 1, "width": 32, "layers": 1, "vision_width": 4, "batch": 32}
    },
}


def make(
    storage: Path, selection: dg.AssetSelection, config: Mapping[str, Any] | None = None, dataset: str = "tiny"
) -> dg.ExecuteInProcessResult:
    """Runs the assets of a selection for one data set in this process."""
    defs = build_defs(base=str(storage), executor=dg.in_process_executor)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(DATASETS.name, [dataset])
        job = defs.resolve_job_def("all_systems")
        keys = selection.resolve(job.asset_layer.asset_graph)
        return job.execute_in_process(
            instance=instance,
            partition_key=dataset,
            asset_selection=sorted(keys),
            run_config={"ops": dict(config or {})},
        )
