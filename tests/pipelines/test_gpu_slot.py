"""The GPU pool under the shipped instance file: a run that is killed gives its place back."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import psutil
import pytest

from pipelines import sensors
from pipelines.instance import open_instance
from resources.accelerator import GPU_POOL

REPOSITORY = Path(__file__).parents[2]

SLEEPER = """
import os, time
from pathlib import Path
import dagster as dg
from pipelines.definitions import EXECUTOR
from resources.accelerator import Accelerator

@dg.asset(pool="gpu")
def holds_the_gpu(accelerator: Accelerator) -> None:
    Path(os.environ["MARK"]).write_text(str(os.getpid()))
    time.sleep(600)

def job():
    jobs = [dg.define_asset_job("sleeper", "*")]
    resources = {"accelerator": Accelerator()}
    return dg.Definitions([holds_the_gpu], jobs=jobs, resources=resources, executor=EXECUTOR).resolve_job_def("sleeper")
"""
MAIN = """
import os, dagster as dg, sleeper
from pipelines.instance import open_instance
with open_instance(os.environ["WEFT_STORAGE"]) as instance:
    dg.execute_job(dg.reconstructable(sleeper.job), instance)
"""


def wait_for(true: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.parametrize(("gpu", "slots"), [(True, 1), (False, 2)])
def test_pooled_steps_wait_for_a_gpu_and_share_the_cores_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool, slots: int
) -> None:
    monkeypatch.setattr("pipelines.instance.has_gpu", lambda: gpu)
    for name in ("WEFT_STORAGE", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")  # the instance sets them
    with open_instance(str(tmp_path / "storage")) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == slots


def test_a_killed_run_gives_its_gpu_slot_back_within_a_minute(tiny_storage: Path, tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    mark = tmp_path / "pid"
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path, "MARK": str(mark)}
    run = subprocess.Popen([sys.executable, "-c", MAIN], env=environment)
    try:
        wait_for(lambda: mark.exists() and mark.read_text(), 90)
        step = int(mark.read_text())
        with open_instance(str(tiny_storage)) as instance:

            def taken() -> int:
                return instance.event_log_storage.get_concurrency_info(GPU_POOL).active_slot_count

            (record,) = instance.get_runs()
            assert record.status == dg.DagsterRunStatus.STARTED  # opening the instance leaves a living run alone
            assert taken() == 1
            run.kill()
            run.wait()
            assert taken() == 1  # nobody has noticed yet

            sensors.dead_runs(dg.build_sensor_context(instance=instance))

            assert taken() == 0
            ended = instance.get_run_by_id(record.run_id)
            assert ended is not None
            assert ended.status == dg.DagsterRunStatus.FAILURE
        wait_for(lambda: not psutil.pid_exists(step), 20)  # no step computes on without its run
        assert sensors.dead_runs.minimum_interval_seconds <= 30  # the daemon looks at least twice a minute
        assert sensors.dead_runs.default_status == dg.DefaultSensorStatus.RUNNING
    finally:
        run.kill()
        run.wait()
