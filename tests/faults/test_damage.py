"""A flipped byte anywhere, a truncation, a lost digest: an error that names the file, never a wrong number."""

import struct

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources import maintenance
from resources.artifacts import ArtifactStore
from tests.resources.tables import FREE, SHOP
from weft.errors import IntegrityError

LARGEST = 123_456_789


@pytest.fixture
def store(tmp_path) -> ArtifactStore:
    store = ArtifactStore(tmp_path / "storage")
    store.write(FREE, SHOP, pl.DataFrame({"x": [*range(5_000), LARGEST]}))
    return store


def _offset(raw: bytes, part: str) -> int:
    footer = len(raw) - 8 - struct.unpack("<I", raw[-8:-4])[0]
    column = pq.read_metadata(pa.BufferReader(raw)).row_group(0).column(0)
    return {
        "magic": 1,
        "page header": column.data_page_offset + 1,
        "data page": column.data_page_offset + column.total_compressed_size // 2,
        "statistics": raw.index(struct.pack("<q", LARGEST), footer),
        "footer": footer + 20,
        "footer length": len(raw) - 7,
    }[part]


def _assert_reported(store: ArtifactStore) -> None:
    path = str(store.path(FREE, SHOP))
    for read in (store.read, store.scan, store.footer):
        with pytest.raises(IntegrityError, match="is not what was written") as caught:
            read(FREE, SHOP)
        assert path in str(caught.value)
        assert "weft rollback notes.any --dataset shop" in str(caught.value)
    assert [problem.path for problem in maintenance.doctor(store)] == [path]


@pytest.mark.parametrize("part", ["magic", "page header", "data page", "statistics", "footer", "footer length"])
def test_a_flipped_bit_is_reported_by_file(store, part) -> None:
    path = store.path(FREE, SHOP)
    raw = bytearray(path.read_bytes())
    raw[_offset(bytes(raw), part)] ^= 1
    path.write_bytes(raw)
    _assert_reported(store)


@pytest.mark.parametrize("left", [0, 3, 1_000, -1])
def test_a_truncated_file_is_reported_by_file(store, left) -> None:
    path = store.path(FREE, SHOP)
    path.write_bytes(path.read_bytes()[:left])
    _assert_reported(store)


def test_another_table_in_its_place_is_reported_by_file(store) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(store.path(FREE, SHOP))
    _assert_reported(store)


def test_a_file_without_its_digest_is_reported_by_file(store) -> None:
    sidecar = store.path(FREE, SHOP).with_name(".data.parquet.digest")
    sidecar.unlink()
    _assert_reported(store)
    sidecar.write_text("{")
    with pytest.raises(IntegrityError, match=r"\.data\.parquet\.digest does not hold digests"):
        store.read(FREE, SHOP)


def test_a_damaged_artifact_can_be_made_again_or_rolled_back_and_is_not_kept_as_a_version(store) -> None:
    store.write(FREE, SHOP, pl.DataFrame({"x": [2]}))
    path = store.path(FREE, SHOP)
    path.write_bytes(path.read_bytes()[:-1])
    store.rollback(FREE, SHOP)
    assert store.read(FREE, SHOP)["x"].max() == LARGEST
    assert store.history(FREE, SHOP) == []
    path.write_bytes(b"")
    store.write(FREE, SHOP, pl.DataFrame({"x": [3]}))
    assert store.read(FREE, SHOP)["x"].to_list() == [3]
    assert list(maintenance.doctor(store)) == []
