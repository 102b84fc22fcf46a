"""Storage on S3 that fails while an artifact is sent: what stood stands, the error says so, and the next run works.

A local moto server plays S3, with one writer. Between it and weft stands a wire that can be cut in the middle of a
request, which the server then never sees whole.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import polars as pl
import pytest

from resources.artifacts import ArtifactStore
from tests.resources.tables import FREE, SHOP
from weft.errors import WeftError

pytest.importorskip("s3fs", reason="the extra 's3' is not installed")
pytest.importorskip("moto.server", reason="moto[server] is not installed")

OLD, NEW = pl.DataFrame({"x": [1]}), pl.DataFrame({"x": range(200_000)})


class Wire:
    """Forwards every connection to ``port``; once ``cut_after`` bytes have gone out, none gets any further."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.bucket = ""
        self._left: float = float("inf")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, sent: float) -> None:
        self._left = sent

    def mend(self) -> None:
        self._left = float("inf")

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._left <= 0:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, out: bool) -> None:
        with suppress(OSError):
            while data := source.recv(16_384):
                if out:
                    self._left -= len(data)
                if self._left <= 0:
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    """Port of a moto server of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield port
    server.kill()
    server.wait()


@pytest.fixture
def wire(s3, tmp_path, monkeypatch) -> Iterator[Wire]:
    """A wire to a server with an empty bucket, and the environment that leads to it."""
    import s3fs  # noqa: PLC0415

    wire = Wire(s3)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{wire.port}", "AWS_ACCESS_KEY_ID": "test", "AWS_MAX_ATTEMPTS": "1",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "XDG_CACHE_HOME": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    wire.bucket = f"weft-{uuid4().hex}"
    s3fs.S3FileSystem().mkdir(wire.bucket)
    yield wire
    wire.close()
    s3fs.S3FileSystem.clear_instance_cache()


def test_artifacts_live_in_a_bucket_and_earlier_versions_come_back(wire) -> None:
    store = ArtifactStore(f"s3://{wire.bucket}/storage")
    store.write(FREE, SHOP, OLD)
    store.write(FREE, SHOP, NEW)
    assert store.read(FREE, SHOP).equals(NEW)
    assert [leaf.asset for leaf in store.leaves()] == [FREE]
    store.rollback(FREE, SHOP)
    assert store.read(FREE, SHOP).equals(OLD)


@pytest.mark.parametrize("sent", [0, 3_000, 100_000, 400_000])
def test_a_connection_that_breaks_in_the_middle_of_a_write_leaves_the_artifact_whole(wire, sent) -> None:
    store = ArtifactStore(f"s3://{wire.bucket}/storage")
    store.write(FREE, SHOP, OLD)
    wire.cut_after(sent)
    with pytest.raises(WeftError) as caught:
        store.write(FREE, SHOP, NEW)
    assert f"cannot write s3://{wire.bucket}/storage/notes/any/dataset=shop/data.parquet" in caught.value.culprit
    assert "\n" not in caught.value.culprit
    assert "what stood there stands" in caught.value.remedy
    assert not list(store.work.rglob("*.tmp"))
    with pytest.raises(WeftError, match="cannot read s3://"):
        store.read(FREE, SHOP)
    wire.mend()
    again = ArtifactStore(f"s3://{wire.bucket}/storage")
    assert again.read(FREE, SHOP).equals(OLD)
    again.write(FREE, SHOP, NEW)
    assert again.read(FREE, SHOP).equals(NEW)
