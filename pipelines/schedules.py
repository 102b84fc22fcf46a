"""Schedules: cron and the data sets that a tick is for. Not here: what runs (``jobs.py``)."""

import os
from collections.abc import Iterator

import dagster as dg

from pipelines.instance import register_datasets, storage_base
from weft.data import registry


@dg.schedule(
    job_name="nightly_retrain",
    cron_schedule="0 2 * * *",
    execution_timezone=os.environ.get("WEFT_TIMEZONE", "UTC"),
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Retrains every data set marked `production: true` at 02:00 in the zone of WEFT_TIMEZONE.",
)
def nightly(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run per data set in production; a second tick of the same night asks for nothing new."""
    night = context.scheduled_execution_time.date().isoformat()
    base = storage_base()
    register_datasets(context.instance, base)
    names = [name for name, spec in registry.load_all(base).items() if spec.production]
    if not names:
        yield dg.SkipReason("no data set is marked `production: true`")
    for name in names:
        yield dg.RunRequest(partition_key=name, run_key=f"{night}|{name}")


SCHEDULES = [nightly]
