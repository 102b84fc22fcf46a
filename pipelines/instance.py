"""The Dagster instance of one storage: its home, its data sets as partitions, its dead runs.

Not here: limits (``dagster.yaml``, which is installed from here), and what runs (``jobs.py``).
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import resources
from pathlib import Path

import dagster as dg
import psutil

from assets.partitions import DATASETS
from resources.locks import locked
from weft.data import registry

HOST_TAG = "weft/host"
PARTITIONS = str(DATASETS.name)
_LIVE = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_SLACK = 2.0
"""Seconds by which a process may seem to start after its own first event (clocks are rounded)."""


def storage_base() -> str:
    """Where artifacts live: ``WEFT_STORAGE``, else ``storage`` beside the caller; a folder is made absolute."""
    base = os.environ.get("WEFT_STORAGE") or "storage"
    return base if "://" in base else str(Path(base).expanduser().resolve())


def local_folder(base: str) -> Path:
    """Run history and logs stay on this machine, also where artifacts live in an object store."""
    return Path("storage").resolve() if "://" in base else Path(base)


@contextmanager
def open_instance(base: str) -> Iterator[dg.DagsterInstance]:
    """The instance of storage ``base``, with the limits as shipped; data sets are partitions, dead runs are failed.

    Sets ``WEFT_STORAGE`` and ``DAGSTER_HOME``, so that every process started from here works on the same storage.
    """
    home = local_folder(base) / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():  # what a person has changed since stays
        staged = home / f".dagster.yaml.{os.getpid()}.tmp"
        staged.write_text(_limits())
        staged.replace(home / "dagster.yaml")
    os.environ["WEFT_STORAGE"] = base
    os.environ["DAGSTER_HOME"] = str(home)
    with ExitStack() as stack:
        # Two first starts at once would both make the same tables and partitions.
        with locked(home / ".start.lock", str(home), timeout=120):
            instance = stack.enter_context(dg.DagsterInstance.get())
            register_datasets(instance, base)
            fail_dead_runs(instance)
        yield instance


def _limits() -> str:
    """``dagster.yaml`` as shipped; where the cores are all there is to wait for, two pooled steps share them."""
    shipped = (resources.files("pipelines") / "dagster.yaml").read_text()
    return shipped if has_gpu() else shipped.replace("default_limit: 1 ", "default_limit: 2 ")


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA driver, told without torch, which takes seconds to import."""
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def register_datasets(instance: dg.DagsterInstance, base: str) -> list[str]:
    """Makes every data set of the storage that can be read, and the built-in ones, a partition; returns their names."""
    registry.register_built_in(base)
    names = sorted(registry.load_all(base))
    known = set(instance.get_dynamic_partitions(PARTITIONS))
    if new := [name for name in names if name not in known]:
        instance.add_dynamic_partitions(PARTITIONS, new)
    return names


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fails every run whose process on this host is gone, and frees the pool slots it held; returns their ids.

    A killed process reports nothing: without this its run would stay started, and keep the GPU, for ever.
    """
    failed = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_LIVE)):
        if run.tags.get(HOST_TAG, socket.gethostname()) != socket.gethostname():
            continue
        if _is_dead(instance, run.run_id):
            instance.report_run_failed(run, "The run's process is gone (killed, or out of memory).")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            failed.append(run.run_id)
    return failed


def _is_dead(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process that the run named in its log has ended; False while it has named none."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.step_key is None and "pid" in event.engine_event_data.metadata:
            pid = int(str(event.engine_event_data.metadata["pid"].value))
            return not _lives(pid, record.event_log_entry.timestamp)
    return False


def _lives(pid: int, since: float) -> bool:
    """Whether process ``pid`` runs and already ran at ``since``: numbers are used again."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since + _SLACK
    return False
