"""Runs of the real definitions inside the test process, on a storage of the test's own."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from pipelines import jobs
from pipelines.definitions import build_defs
from pipelines.instance import register_datasets


def make(
    storage: Path,
    *systems: str,
    dataset: str = "tiny",
    seeds: Sequence[int] = (0,),
    protocols: Sequence[str] = (),
    ops: dict | None = None,
    ingest: bool = True,
) -> dg.ExecuteInProcessResult:
    """Ingest (if asked for), the systems, and the reports, for the cells that seeds and protocols span."""
    job = build_defs(base=str(storage), executor=dg.in_process_executor).resolve_job_def("all_systems")
    selection = jobs.of_systems(*systems) | jobs.REPORTS | jobs.SERVING if systems else jobs.INGEST
    if ingest:
        selection |= jobs.INGEST
    with dg.DagsterInstance.ephemeral() as instance:
        register_datasets(instance, str(storage))
        return job.execute_in_process(
            partition_key=dataset,
            instance=instance,
            raise_on_error=False,
            asset_selection=sorted(selection.resolve(job.asset_layer.asset_graph)),
            run_config={
                "ops": ops or {},
                "resources": {"cells": {"config": {"seeds": list(seeds), "protocols": list(protocols)}}},
                "loggers": {"console": {"config": {"log_level": "ERROR"}}},
            },
        )
