import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from resources import catalogue, maintenance
from resources.artifacts import ArtifactStore
from tests.resources.tables import FITTED, FREE, SHOP, USERS, interactions, users, vectors
from weft.cells import Cell
from weft.errors import IntegrityError
from weft.schemas import SCHEMAS, schema_of

ITEMS = "behaviour.item_embeddings"


@pytest.fixture
def store(tmp_path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "storage")


def _plain(store: ArtifactStore, sql: str) -> pl.DataFrame:
    with duckdb.connect(str(store.base / "catalogue.duckdb"), read_only=True) as connection:
        return connection.sql(sql).pl()


def test_the_file_and_the_query_show_every_leaf_with_its_coordinates(store) -> None:
    store.write(USERS, SHOP, users("ann", "bob"))
    store.write(USERS, Cell("cafe"), users("eve"))
    store.write(FREE, FITTED, pl.DataFrame({"x": [1]}))
    catalogue.refresh(store)
    for ask in (_plain, catalogue.query):
        assert ask(store, "from interactions.users order by dataset, user").rows() == [
            (1, "eve", "cafe"), (1, "ann", "shop"), (2, "bob", "shop")
        ]  # fmt: skip
        assert ask(store, "select seed, protocol, x from notes.any").rows() == [("0", "leave_one_out", 1)]


def test_vectors_are_lists_and_have_a_typed_view_per_width(store) -> None:
    store.write(ITEMS, FITTED, vectors(4))
    store.write(ITEMS, FITTED.with_seed(1), vectors(8))
    similar = "select list_cosine_similarity(vector, vector) > 0.99 from behaviour.item_embeddings where item = 2"
    assert catalogue.query(store, similar).to_series().to_list() == [True, True]
    typed = catalogue.query(store, "select seed, item, vector from behaviour.item_embeddings_8")
    assert typed.schema["vector"] == pl.Array(pl.Float32, 8)
    assert typed["seed"].to_list() == ["1", "1"]


def test_what_is_not_made_yet_is_an_empty_view_with_the_columns_it_will_have(store) -> None:
    assert catalogue.query(store, "from reports.metrics").is_empty()
    assert "reports.leaderboard" in SCHEMAS
    for asset, cell in [
        ("interactions.interactions", SHOP),
        ("interactions.items", SHOP),
        ("interactions.raw_images", SHOP),
        ("interactions.splits", FITTED.of_protocol()),
        ("reports.metrics", SHOP),
        ("behaviour.sasrec", FITTED),
        ("behaviour.sasrec_rankings", FITTED),
    ]:
        before = catalogue.query(store, f"describe {asset}")
        store.write(asset, cell, schema_of(asset).create_empty())
        assert_frame_equal(catalogue.query(store, f"describe {asset}"), before)


@contextmanager
def _held_for_writing(file: Path) -> Iterator[None]:
    """Another process has the file open, with something in its write-ahead log."""
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('create table t (x int)'); print(); input()"
    with subprocess.Popen([sys.executable, "-c", hold, str(file)], stdin=-1, stdout=-1) as holder:
        try:
            holder.stdout.readline()
            yield
        finally:
            holder.kill()


def test_both_ways_give_equal_rows_while_another_process_has_the_file_open_for_writing(store) -> None:
    store.write(USERS, SHOP, users("ann"))
    file = catalogue.refresh(store)
    with _held_for_writing(file):
        assert file.with_name("catalogue.duckdb.wal").exists()
        store.write(USERS, SHOP, users("bob", "eve"))
        with pytest.warns(UserWarning, match="open for writing elsewhere"):
            catalogue.refresh(store)
        sql = "from interactions.users order by user"
        assert _plain(store, sql).rows() == [(1, "bob", "shop"), (2, "eve", "shop")]
        assert_frame_equal(catalogue.query(store, sql), _plain(store, sql))


def test_a_file_held_for_writing_is_freed_without_a_commit_and_a_free_one_is_left_alone(store) -> None:
    store.write(USERS, SHOP, users("ann"))
    file = catalogue.refresh(store)
    standing = file.stat().st_ino
    catalogue.free(store)
    assert file.stat().st_ino == standing
    with _held_for_writing(file):
        with pytest.raises(duckdb.IOException, match="lock"):
            _plain(store, "from interactions.users")
        with pytest.warns(UserWarning, match="open for writing elsewhere"):
            catalogue.free(store)
        assert _plain(store, "from interactions.users").rows() == [(1, "ann", "shop")]


def test_the_file_can_be_deleted_and_a_damaged_artifact_hides_only_itself(store) -> None:
    store.write(USERS, SHOP, users("ann"))
    path = store.write(FREE, SHOP, pl.DataFrame({"x": [1]})).path
    catalogue.refresh(store).unlink()
    path.write_bytes(b"PAR1 no more")
    with pytest.warns(UserWarning, match="leaves notes.any out"):
        catalogue.refresh(store)
    assert _plain(store, "select count(*) from interactions.users").item() == 1


def test_a_query_reads_an_object_store_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = ArtifactStore(f"memory://sql/{tmp_path.name}")
    store.write("interactions.interactions", SHOP, interactions(50))
    assert catalogue.refresh(store) is None
    counted = "select count(*), count(distinct row), any_value(dataset) from interactions.interactions"
    assert catalogue.query(store, counted).row(0) == (50, 50, "shop")


def test_a_query_names_the_damaged_file_it_would_read_and_so_does_the_doctor(store) -> None:
    store.write(USERS, SHOP, users("ann", "bob"))
    path = store.write(FREE, SHOP, pl.DataFrame({"x": range(1000)})).path
    data = bytearray(path.read_bytes())
    data[40] ^= 1  # in a page of data: the file still opens
    path.write_bytes(data)
    for sql in ("select sum(x) from notes.any", 'select count(*) from "notes"."any"', "show all tables"):
        with pytest.raises(IntegrityError, match=re.escape(str(path))):
            catalogue.query(store, sql)
    assert catalogue.query(store, "select count(*) from interactions.users").item() == 2
    assert [problem.path for problem in maintenance.doctor(store)] == [str(path)]


@pytest.mark.parametrize(
    "stray", ["dataset=My Shop", "dataset=shop/seed=one", "dataset=shop/colour=red", "dataset=a..b"]
)
def test_a_stray_folder_is_passed_over_with_a_warning(store, stray) -> None:
    store.write(USERS, SHOP, users("ann"))
    folder = store.base / "interactions" / "users" / stray
    folder.mkdir(parents=True)
    (folder / "data.parquet").write_bytes(store.path(USERS, SHOP).read_bytes())
    with pytest.warns(UserWarning, match=re.escape(stray)):
        assert [leaf.cell for leaf in store.leaves()] == [SHOP]
    with pytest.warns(UserWarning, match=re.escape(stray)):
        catalogue.refresh(store)
    with pytest.warns(UserWarning, match=re.escape(stray)):
        assert catalogue.query(store, "select user_id from interactions.users").rows() == [("ann",)]
    assert _plain(store, "select user_id from interactions.users").rows() == [("ann",)]
    with pytest.warns(UserWarning, match=re.escape(stray)):
        assert list(maintenance.doctor(store)) == []


def test_odd_names_among_the_pins_disturb_no_write(store) -> None:
    odd = store.base / ".pins" / f"{socket.gethostname()}.mine"
    odd.mkdir(parents=True)
    store.write(USERS, SHOP, users("ann"))
    assert odd.exists()
