"""Sensors: what the daemon looks after between runs. Not here: schedules (``schedules.py``)."""

import logging

import dagster as dg

from assets.partitions import DATASETS
from pipelines.instance import PARTITIONS, fail_dead_runs, storage_base
from weft.data import registry

_LOG = logging.getLogger("weft")


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails runs of this host whose process is gone, so that a killed run gives its GPU slot back.",
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Looks at every live run; a missing process is a failed run."""
    failed = fail_dead_runs(context.instance)
    return dg.SkipReason(f"failed {', '.join(failed)}" if failed else "every run has its process")


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes every data set of the storage (and the built-in ones) a partition.",
)
def datasets(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """What `weft datasets add` wrote, also where this instance was started without `weft`."""
    known = set(context.instance.get_dynamic_partitions(PARTITIONS))
    new = [name for name in registry.register_built_in(storage_base()) if name not in known]
    if not new:
        return dg.SkipReason("every data set is a partition")
    return dg.SensorResult(dynamic_partitions_requests=[DATASETS.build_add_request(new)])


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING, description="Writes each failed run, and why, to the log."
)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """One line per failed run; the place to hook a pager in."""
    dataset = context.dagster_run.tags.get("dagster/partition", "no data set")
    _LOG.error("run %s of %s on %s failed: %s", context.dagster_run.run_id, context.dagster_run.job_name, dataset,
               context.failure_event.message)  # fmt: skip


SENSORS = [dead_runs, datasets, failed_runs]
