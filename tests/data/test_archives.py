"""An archive comes from elsewhere: it is refused before a byte of it is used."""

import gzip
import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from weft.data.archives import Limits, check_checksum, check_gzip, open_archive
from weft.errors import SourceError


def zip_of(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def named(path: Path, name: str) -> Path:
    return zip_of(path, **{name: b"x"})


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "C:evil", "a\\..\\..\\evil", "\\evil"])
def test_a_zip_whose_member_leaves_it_is_refused(tmp_path, name):
    with pytest.raises(SourceError, match="leaves the archive"):
        open_archive(named(tmp_path / "a.zip", name))


def test_a_zip_with_a_symlink_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SourceError, match="is a link or a device"):
        open_archive(tmp_path / "a.zip")


def test_a_zip_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path):
    bomb = zip_of(tmp_path / "a.zip", zeros=bytes(8 * 2**20))
    with pytest.raises(SourceError, match="200 times its size"):
        open_archive(bomb)


def test_a_zip_whose_header_understates_the_size_yields_no_more_than_it_says(tmp_path):
    honest = zip_of(tmp_path / "a.zip", text=b"abc" * 1000).read_bytes()
    lie = honest.replace((3000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "lie.zip").write_bytes(lie)
    with pytest.raises(SourceError, match="cannot be read"):
        open_archive(tmp_path / "lie.zip").read("text")


@pytest.mark.parametrize(("limits", "why"), [(Limits(bytes=5), "over 5 bytes"), (Limits(members=1), "over 1 files")])
def test_a_zip_over_a_limit_is_refused(tmp_path, limits, why):
    with pytest.raises(SourceError, match=why):
        open_archive(zip_of(tmp_path / "a.zip", a=b"123", b=b"456"), limits)


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        (tarfile.SYMTYPE, "link", "link or a device"),
        (tarfile.LNKTYPE, "link", "link or a device"),
        (tarfile.CHRTYPE, "device", "link or a device"),
        (tarfile.REGTYPE, "../evil", "leaves the archive"),
        (tarfile.REGTYPE, "/evil", "leaves the archive"),
    ],
)
def test_a_tar_with_a_link_a_device_or_a_name_that_leaves_it_is_refused(tmp_path, kind, name, why):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(info)
    with pytest.raises(SourceError, match=why):
        open_archive(tmp_path / "a.tar.gz")


def test_a_tar_bomb_is_refused(tmp_path):
    info = tarfile.TarInfo("zeros")
    info.size = 8 * 2**20
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(SourceError, match="200 times"):
        open_archive(tmp_path / "a.tar.gz")


def test_a_gzip_bomb_and_a_damaged_gzip_file_are_refused_and_any_other_file_passes(tmp_path):
    packed = gzip.compress(b"user,item\n" * 1_000)
    for name, content in {"bomb": gzip.compress(bytes(8 * 2**20)), "cut": packed[:-9], "good": packed}.items():
        (tmp_path / f"{name}.gz").write_bytes(content)
    with pytest.raises(SourceError, match="unpacks to over"):
        check_gzip(tmp_path / "bomb.gz")
    with pytest.raises(SourceError, match="is damaged"):
        check_gzip(tmp_path / "cut.gz")
    assert check_gzip(tmp_path / "good.gz") == tmp_path / "good.gz"
    assert check_gzip(tmp_path / "no_such.csv") == tmp_path / "no_such.csv"


def test_folder_zip_and_tar_hold_the_same_files(tmp_path):
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "a.txt").write_bytes(b"hello")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "folder" / "sub" / "a.txt", "sub/a.txt")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        archive.add(tmp_path / "folder" / "sub" / "a.txt", "sub/a.txt")
    for name in ("folder", "a.zip", "a.tgz"):
        archive = open_archive(tmp_path / name)
        assert archive.sizes == {"sub/a.txt": 5}
        assert archive.read(archive.need("a.txt")) == b"hello"


def test_what_is_missing_empty_or_no_archive_says_so(tmp_path):
    (tmp_path / "empty.zip").touch()
    (tmp_path / "text.zip").write_text("not a zip, whatever its name says")
    truncated = zip_of(tmp_path / "whole.zip", a=b"abc" * 1000).read_bytes()[:60]
    (tmp_path / "cut.zip").write_bytes(truncated)
    for name, why in (
        ("nowhere.zip", "does not exist"),
        ("empty.zip", "is empty"),
        ("text.zip", "neither a folder nor a zip"),
        ("cut.zip", "neither a folder nor a zip"),
    ):
        with pytest.raises(SourceError, match=why) as caught:
            open_archive(tmp_path / name)
        assert name in caught.value.culprit
        assert caught.value.remedy


def test_a_wrong_checksum_names_both(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    check_checksum(file, "sha256:" + hashlib.sha256(b"abc").hexdigest())
    check_checksum(file, "md5:900150983cd24fb0d6963f7d28e17f72")
    check_checksum(file, None)
    with pytest.raises(SourceError, match=r"expected 0{64}"):
        check_checksum(file, "sha256:" + "0" * 64)
