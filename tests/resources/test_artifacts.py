import hashlib
import struct
import time
from itertools import pairwise

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from resources.artifacts import ArtifactStore
from tests.resources.tables import FITTED, FREE, INTERACTIONS, SHOP, USERS, interactions, users, vectors
from weft.cells import Cell
from weft.errors import MissingArtifactError, RequestError, SchemaError
from weft.progress import LogProgress


@pytest.fixture
def store(tmp_path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "storage")


def test_what_is_written_is_read_back_from_a_hive_folder(store, tmp_path) -> None:
    table = pl.DataFrame(
        {"a": ["x", None], "b": [[1, 2], []], "c": [True, None], "d": [1.5, None]},
        schema_overrides={"a": pl.Enum(["x", "y"]), "b": pl.List(pl.Int32)},
    )
    leaf = store.write(FREE, FITTED, table)
    inside = "notes/any/dataset=shop/protocol=leave_one_out/profile=offline/variant=full/seed=0/data.parquet"
    assert str(leaf.path) == str(tmp_path / "storage" / inside)
    assert (leaf.rows, leaf.bytes) == (2, leaf.path.stat().st_size)
    assert_frame_equal(store.read(FREE, FITTED), table)
    assert store.locate(leaf.path) == (FREE, FITTED)


def test_equal_data_have_an_equal_digest_whatever_run_wrote_them_and_in_whatever_blocks(store) -> None:
    table = interactions(300_000)
    digests = {
        store.write(INTERACTIONS, SHOP, form, provenance={"run_id": run}, attributes={"device": run}).digest
        for run, form in [
            ("a", table),
            ("b", table.lazy()),
            ("c", table.to_arrow()),
            ("d", pl.concat([table[:7], table[7:200_001], table[200_001:]], rechunk=False)),
        ]
    }
    assert len(digests) == 1
    assert store.digest(INTERACTIONS, SHOP) in digests
    assert store.write(INTERACTIONS, SHOP, table.with_columns(pl.col("item") + 1)).digest not in digests
    one_name_more = table.lazy().collect().with_columns(domain=pl.lit("book"))
    assert store.write(INTERACTIONS, SHOP, one_name_more).digest not in digests


def test_the_content_digest_is_the_hash_of_everything_before_the_footer_and_of_the_columns(store) -> None:
    leaf = store.write(USERS, SHOP, users("ann", "bob"))
    raw = leaf.path.read_bytes()
    data = raw[: -8 - struct.unpack("<I", raw[-8:-4])[0]]
    columns = pq.read_schema(leaf.path).remove_metadata().to_string(show_field_metadata=True, truncate_metadata=False)
    assert leaf.digest == hashlib.sha256(data + columns.encode()).hexdigest()


def test_the_footer_says_where_the_table_comes_from(store) -> None:
    store.write(USERS, SHOP, users("ann"))
    store.write(
        FREE,
        SHOP,
        lambda: store.read(USERS, SHOP),
        provenance={"run_id": "r1", "code_version": "3", "config": {"k": 5}},
        attributes={"system": "sasrec"},
    )
    footer = store.footer(FREE, SHOP)
    assert {key: footer[key] for key in ("asset", "cell", "run_id", "code_version", "config", "system")} == {
        "asset": FREE, "cell": "dataset=shop", "run_id": "r1", "code_version": "3", "config": '{"k": 5}',
        "system": "sasrec",
    }  # fmt: skip
    digest = store.digest(USERS, SHOP)
    assert footer["inputs"] == f'[{{"asset": "{USERS}", "cell": "dataset=shop", "digest": "{digest}"}}]'
    assert '"polars"' in footer["versions"]


def test_leaves_are_found_by_asset_and_by_coordinates(store) -> None:
    cells = [FITTED, FITTED.with_seed(1), Cell("other", "leave_one_out", "offline", "full", 0)]
    for cell in cells:
        store.write("notes.a_scores", cell, users("ann"))
    store.write("notes.b", SHOP, users("ann", "bob"))
    assert [leaf.asset for leaf in store.leaves(dataset="shop")] == ["notes.a_scores", "notes.a_scores", "notes.b"]
    assert {leaf.cell for leaf in store.leaves("*.*scores")} == set(cells)
    assert [leaf.cell for leaf in store.leaves("notes.a_scores", dataset="shop", seed=1)] == [FITTED.with_seed(1)]
    assert [leaf.rows for leaf in store.leaves("notes.b")] == [2]


def test_what_has_not_been_made_is_said_so_and_a_name_without_group_is_refused(store) -> None:
    for read in (store.scan, store.digest, store.footer):
        with pytest.raises(MissingArtifactError, match=r"interactions\.users has not been made for dataset=shop"):
            read(USERS, SHOP)
    for name in ("users", "a.b.c", "../x.y", "Up.per"):
        with pytest.raises(RequestError):
            store.path(name, SHOP)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (users("a").cast({"user": pl.Int64}), r"user is Int64, not Int32"),
        (users("a").select("user"), r"user_id is missing"),
        (users("a").select("user_id", "user"), r"the order of columns is"),
        (users("a").with_columns(x=1), r"x is not in the schema"),
        (users("a", "b", "c").with_columns(user=pl.Series([0, 0, 1], dtype=pl.Int32)),
         r"interactions\.users breaks its schema Users in 3 rows: user: min \(2 rows\), primary_key \(1 rows\)"),
        (users("a", "b").with_columns(user_id=pl.lit(None, pl.String)), r"user_id: nullability \(2 rows\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lazy", [False, True])
def test_a_table_that_breaks_its_schema_replaces_nothing(store, table, told, lazy) -> None:
    store.write(USERS, SHOP, users("ann", "bob"))
    with pytest.raises(SchemaError, match=told):
        store.write(USERS, SHOP, table.lazy() if lazy else table)
    assert store.read(USERS, SHOP)["user_id"].to_list() == ["ann", "bob"]
    assert not list(store.path(USERS, SHOP).parent.glob("*.tmp"))


def test_a_key_that_comes_twice_in_different_blocks_is_found(store) -> None:
    table = interactions(300_000).sort("row")
    twice = table.with_columns(row=pl.when(pl.col("row") == 299_999).then(0).otherwise("row"))
    with pytest.raises(SchemaError, match=r"primary_key \(1 rows\)"):
        store.write(INTERACTIONS, SHOP, twice.lazy())


def test_a_lazy_reader_keeps_the_version_that_it_verified(store) -> None:
    store.write(FREE, SHOP, pl.DataFrame({"x": [0] * 300_000}))
    plan = store.scan(FREE, SHOP)
    plan.collect_schema()
    for value in range(1, 6):  # more versions than are kept
        store.write(FREE, SHOP, pl.DataFrame({"y": [value] * 10}))
    assert plan.select(pl.len(), pl.col("x").max()).collect().row(0) == (300_000, 0)


def test_rollback_goes_back_step_by_step_and_what_it_left_can_be_put_back(store) -> None:
    def stands() -> str:
        return store.read(USERS, SHOP)["user_id"][0]

    for name in ("one", "two", "three"):
        store.write(USERS, SHOP, users(name))
    for expected in ("two", "one"):
        store.rollback(USERS, SHOP)
        assert stands() == expected
    with pytest.raises(MissingArtifactError, match="no earlier version"):
        store.rollback(USERS, SHOP)
    newest_left, older_left = sorted(store.history(USERS, SHOP), key=lambda version: version.replaced)
    assert newest_left.undone
    assert older_left.undone
    store.rollback(USERS, SHOP, newest_left)
    assert stands() == "three"
    store.rollback(USERS, SHOP)
    assert stands() == "one"


def test_history_is_bounded_in_versions_and_in_bytes_and_leaves_out_equal_data(tmp_path) -> None:
    store = ArtifactStore(tmp_path, keep_versions=2)
    for name in ("one", "two", "two", "two", "three", "four"):
        store.write(USERS, SHOP, users(name))
    kept = store.history(USERS, SHOP)
    assert [pl.read_parquet(version.path)["user_id"][0] for version in kept] == ["three", "two"]
    assert all(newer.replaced > older.replaced for newer, older in pairwise(kept))
    small = ArtifactStore(tmp_path, keep_bytes=kept[0].bytes + 10)
    small.write(USERS, SHOP, users("five"))
    assert [pl.read_parquet(version.path)["user_id"][0] for version in small.history(USERS, SHOP)] == ["four"]


def test_categories_become_text_and_vectors_keep_their_width(store) -> None:
    store.write(FREE, SHOP, pl.DataFrame({"c": ["b", "a"]}, schema={"c": pl.Categorical}))
    assert store.read(FREE, SHOP)["c"].to_list() == ["b", "a"]
    store.write("content.item_embeddings", FITTED, vectors(4))
    assert_frame_equal(store.read("content.item_embeddings", FITTED), vectors(4))


def test_an_empty_table_keeps_its_columns(store) -> None:
    for empty in (users(), users("a").lazy().filter(pl.col("user") > 1)):
        assert store.write(USERS, SHOP, empty).rows == 0
        assert_frame_equal(store.read(USERS, SHOP), users())


def test_a_million_rows_are_checked_written_and_hashed_well_under_a_second(store) -> None:
    table, seconds = interactions(1_000_000), []
    for _ in range(3):
        started = time.perf_counter()
        store.write(INTERACTIONS, SHOP, table)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.0  # 0.15 s on two idle cores


@pytest.mark.parametrize("lazy", [False, True])
def test_a_long_write_tells_rows_rate_and_the_time_left(store, lazy) -> None:
    told: list[str] = []
    table = interactions(300_000)
    store.write(INTERACTIONS, SHOP, table.lazy() if lazy else table, progress=LogProgress(told.append, interval=0.0))
    assert told[0].startswith("interactions.interactions: 131,072 of 300,000 rows, ")
    assert told[0].endswith(" left")
    assert "rows/s" in told[0]


def test_an_object_store_takes_the_same_artifacts(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = ArtifactStore(f"memory://bucket/{tmp_path.name}")
    for name in ("one", "two"):
        store.write(USERS, SHOP, users(name))
    store.write(FREE, FITTED, lambda: store.scan(USERS, SHOP))
    assert [leaf.cell for leaf in store.leaves()] == [SHOP, FITTED]
    assert str(store.leaves(USERS)[0].path).endswith("/interactions/users/dataset=shop/data.parquet")
    plan = store.scan(USERS, SHOP)
    assert store.rollback(USERS, SHOP).rows == 1
    assert (plan.collect()["user_id"][0], store.read(USERS, SHOP)["user_id"][0]) == ("two", "one")
    assert store.work.is_relative_to(tmp_path)
