"""Writes that fail, are killed, or meet another writer: the artifact that stood stands."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from resources import catalogue, places
from resources.artifacts import ArtifactStore
from tests.resources.tables import FREE, SHOP, users
from weft.errors import LockedError

ROWS = 400_000

KILLED = f"""
import os, random, signal, sys, time, polars as pl
from resources.artifacts import ArtifactStore
from weft.cells import Cell

def write(base, told):
    store = ArtifactStore(base)
    for value in range(10_000):
        store.write({FREE!r}, Cell("shop"), pl.DataFrame({{"x": [value] * {ROWS}, "y": range({ROWS})}}))
        os.write(told, b".")

rng = random.Random(7)
for number in range(20):
    heard, told = os.pipe()
    writer = os.fork()  # before anything has started a thread
    if not writer:
        write(f"{{sys.argv[1]}}/{{number}}", told)
    os.close(told)
    commits = len(os.read(heard, 1))
    time.sleep(rng.uniform(0, 0.25))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    while more := os.read(heard, 1000):
        commits += len(more)
    print(number, commits, writer, flush=True)
"""


def _values(store: ArtifactStore) -> list[int]:
    return store.read(FREE, SHOP)["x"].unique().to_list()


def test_a_writer_killed_at_a_random_moment_leaves_a_whole_artifact_and_the_next_write_works(tmp_path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=True)
    left_behind = 0
    for line in done.stdout.splitlines():
        number, commits, writer = line.split()
        store = ArtifactStore(tmp_path / number)
        folder = store.path(FREE, SHOP).parent
        left_behind += len(list(folder.glob(".*.tmp")))
        (value,) = _values(store)
        assert value in (int(commits) - 1, int(commits))  # the last may have been committed and not told
        assert store.scan(FREE, SHOP).select(pl.len()).collect().item() == ROWS
        store.write(FREE, SHOP, pl.DataFrame({"x": [-1]}))
        assert _values(store) == [-1]
        assert not list(folder.glob(".*.tmp"))
        assert not list((tmp_path / number / ".pins").glob(f"*.{writer}"))
    assert len(done.stdout.splitlines()) == 20
    assert left_behind  # some died in the middle of a file


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("before", [True, False])
def test_a_crash_between_any_two_steps_of_a_commit_leaves_a_file_that_can_be_verified(
    tmp_path, monkeypatch, number, before
) -> None:
    store = ArtifactStore(tmp_path)
    store.write(FREE, SHOP, pl.DataFrame({"x": [1]}))
    put, calls = places.Folder.put, []

    def crashing(self: places.Folder, staged: Path, path: Path) -> None:
        calls.append(path.name)
        crash = len(calls) == number + 1
        if crash and before:
            raise KeyboardInterrupt
        put(self, staged, path)
        if crash:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(places.Folder, "put", crashing)
        with pytest.raises(KeyboardInterrupt):
            store.write(FREE, SHOP, pl.DataFrame({"x": [2]}))
    replaced = number == 2 or (number == 1 and not before)  # both digests, then the data, then the new digest alone
    assert _values(store) == [2 if replaced else 1]
    assert store.digest(FREE, SHOP) == store.leaves()[0].digest
    store.write(FREE, SHOP, pl.DataFrame({"x": [3]}))
    assert _values(store) == [3]
    store.rollback(FREE, SHOP)
    assert _values(store) == [2 if replaced else 1]


def test_a_plan_that_fails_late_leaves_the_artifact_whole(tmp_path) -> None:
    store = ArtifactStore(tmp_path)
    store.write(FREE, SHOP, pl.DataFrame({"x": [1]}))

    def fail(values: pl.Series) -> pl.Series:
        if values.max() > 900_000:
            raise ValueError("the last block is bad")
        return values

    plan = pl.LazyFrame({"x": range(1_000_000)}).with_columns(
        pl.col("x").map_batches(fail, return_dtype=pl.Int64, is_elementwise=True)
    )
    with pytest.raises(ValueError, match="the last block is bad"):
        store.write(FREE, SHOP, plan)
    assert _values(store) == [1]
    assert not list(store.path(FREE, SHOP).parent.glob("*.tmp"))


def test_a_full_disk_leaves_the_artifact_whole_and_says_so(tmp_path) -> None:
    store = ArtifactStore(tmp_path)
    store.write(FREE, SHOP, pl.DataFrame({"x": [1]}))
    script = f"""
import resource, sys, polars as pl
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.errors import WeftError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    ArtifactStore(sys.argv[1]).write({FREE!r}, Cell("shop"), pl.DataFrame({{"x": range(1_000_000)}}))
except WeftError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    culprit, remedy = done.stderr.strip().splitlines()
    assert culprit == f"cannot write {store.path(FREE, SHOP)}: File too large"
    assert "free some space" in remedy
    assert _values(store) == [1]
    assert not list(store.path(FREE, SHOP).parent.glob("*.tmp"))
    store.write(FREE, SHOP, pl.DataFrame({"x": [2]}))  # the next run, with space
    assert _values(store) == [2]


def test_a_second_writer_waits_and_then_fails_naming_the_holder(tmp_path) -> None:
    held, free = threading.Event(), threading.Event()

    def slow() -> pl.DataFrame:
        held.set()
        free.wait()
        return pl.DataFrame({"x": [1]})

    first = ArtifactStore(tmp_path)
    writer = threading.Thread(target=first.write, args=(FREE, SHOP, slow), kwargs={"provenance": {"run_id": "run-7"}})
    writer.start()
    held.wait()
    try:
        started = time.monotonic()
        with pytest.raises(LockedError) as caught:
            ArtifactStore(tmp_path, lock_timeout=0.3).write(FREE, SHOP, pl.DataFrame({"x": [2]}))
        assert time.monotonic() - started >= 0.3
        for part in (f"process {os.getpid()}", socket.gethostname(), "run-7", "since 20", str(first.path(FREE, SHOP))):
            assert part in str(caught.value)
        ArtifactStore(tmp_path).write("notes.other", SHOP, pl.DataFrame({"x": [2]}))  # another leaf is free
        threading.Timer(0.3, free.set).start()
        ArtifactStore(tmp_path, lock_timeout=30).write(FREE, SHOP, pl.DataFrame({"x": [2]}))
    finally:
        free.set()
        writer.join()
    assert _values(first) == [2]


def test_a_run_in_another_process_is_named_by_its_process_and_its_artifact_comes_through(tmp_path) -> None:
    script = f"""
import sys, polars as pl
from resources.artifacts import ArtifactStore
from weft.cells import Cell

def slow():
    print("held", flush=True)
    sys.stdin.readline()
    return pl.DataFrame({{"x": [1]}})

ArtifactStore(sys.argv[1]).write({FREE!r}, Cell("shop"), slow, provenance={{"run_id": "run-8"}})
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"process {other.pid} on .*run run-8, since .*; waited 0\.2 s"):
            ArtifactStore(tmp_path, lock_timeout=0.2).write(FREE, SHOP, pl.DataFrame({"x": [2]}))
        other.stdin.close()
        assert other.wait() == 0
    assert _values(ArtifactStore(tmp_path)) == [1]


def test_two_writers_at_once_lose_nothing(tmp_path) -> None:
    """Each adds its row to what stands, as a report does."""
    ArtifactStore(tmp_path).write(FREE, SHOP, pl.DataFrame({"x": [0]}))

    def add(number: int) -> None:
        store = ArtifactStore(tmp_path)
        for step in range(10):
            row = pl.DataFrame({"x": [number + step]})
            store.write(FREE, SHOP, lambda row=row: pl.concat([store.read(FREE, SHOP), row]))

    writers = [threading.Thread(target=add, args=(number,)) for number in (100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = sorted(ArtifactStore(tmp_path).read(FREE, SHOP)["x"])
    assert found == [0, *range(100, 110), *range(200, 210)]


def test_readers_in_a_loop_see_the_old_or_the_new_artifact_and_never_a_mix(tmp_path) -> None:
    store, done = ArtifactStore(tmp_path), threading.Event()
    tables = [pl.DataFrame({"x": [0] * 300_000, "y": "a"}), pl.DataFrame({"x": [1] * 200_000, "y": "bb"})]
    store.write(FREE, SHOP, tables[0])

    def write() -> None:
        while not done.is_set():
            for table in reversed(tables):
                ArtifactStore(tmp_path).write(FREE, SHOP, table)

    def plain() -> tuple | None:
        try:
            with duckdb.connect() as connection:
                return connection.sql(facts.format(table=f"'{store.path(FREE, SHOP)}'")).fetchall()[0]
        except duckdb.Error:  # it plans with one opening of the file and reads with another
            return None

    facts = "select count(*), min(x), max(x), any_value(y) from {table}"
    frame = [pl.len(), pl.col("x").min(), pl.col("x").max().alias("max"), pl.col("y").first()]
    whole = {(300_000, 0, 0, "a"), (200_000, 1, 1, "bb")}
    seen: dict[str, set] = {"polars": set(), "query": set(), "plain": set()}
    writer = threading.Thread(target=write)
    writer.start()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        seen["polars"].add(store.scan(FREE, SHOP).select(frame).collect().row(0))
        seen["query"].add(catalogue.query(store, facts.format(table=FREE)).row(0))
        seen["plain"].add(plain())
    done.set()
    writer.join()
    assert seen["polars"] == seen["query"] == whole
    assert seen["plain"] - {None} == whole


def test_what_a_living_writer_stages_is_not_swept_unless_it_is_a_day_old(tmp_path) -> None:
    store = ArtifactStore(tmp_path)
    folder = store.write(FREE, SHOP, users("ann")).path.parent
    living = folder / f".data.parquet.{os.getppid()}.tmp"
    dead = folder / ".data.parquet.999999999.tmp"
    for file in (living, dead):
        file.touch()
    store.write(FREE, SHOP, users("bob"))
    assert (living.exists(), dead.exists()) == (True, False)
    os.utime(living, (time.time() - 90_000,) * 2)
    store.write(FREE, SHOP, users("eve"))
    assert not living.exists()
