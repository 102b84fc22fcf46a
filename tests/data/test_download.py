"""A public download, from a server on this machine: kept, checked, and never fetched twice."""

import hashlib
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from weft.data.registry import DatasetSpec
from weft.data.sources import open_source
from weft.errors import SourceError


class Counting(SimpleHTTPRequestHandler):
    served = 0

    def do_GET(self) -> None:
        Counting.served += 1
        super().do_GET()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def url(tmp_path):
    (tmp_path / "www").mkdir()
    with zipfile.ZipFile(tmp_path / "www" / "ml.zip", "w") as archive:
        archive.writestr("ratings.dat", "1::2::3::4\n")
        archive.writestr("movies.dat", "2::Two (1999)::Drama\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(tmp_path / "www")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/ml.zip"
    server.shutdown()
    server.server_close()


def of(url: str, checksum: str | None) -> DatasetSpec:
    return DatasetSpec(name="ml", format="movielens", url=url, checksum=checksum)


def test_a_download_is_checked_and_kept(tmp_path, url):
    checksum = "sha256:" + hashlib.sha256((tmp_path / "www" / "ml.zip").read_bytes()).hexdigest()
    before = Counting.served
    for _ in range(2):
        source = open_source(of(url, checksum), tmp_path / "kept")
        source.check()
        assert source.items()["title"].to_list() == ["Two (1999)"]
    assert Counting.served == before + 1
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["ml-ml.zip"]


def test_a_download_with_a_wrong_checksum_leaves_nothing_behind(tmp_path, url):
    with pytest.raises(SourceError, match="wrong checksum"):
        open_source(of(url, "md5:" + "0" * 32), tmp_path / "kept").check()
    assert list((tmp_path / "kept").iterdir()) == []


def test_without_a_network_the_error_says_what_to_do(tmp_path, url):
    nowhere = url.replace("ml.zip", "gone.zip")
    with pytest.raises(SourceError, match="could not be downloaded") as caught:
        open_source(of(nowhere, None), tmp_path / "kept").check()
    assert "--source" in caught.value.remedy
