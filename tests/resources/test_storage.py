import json

import dagster as dg
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.artifacts import ArtifactStore
from resources.storage import Leaves, ParquetStorage, Rebuild, Table
from tests.resources.tables import FITTED, SHOP, USERS, users, vectors
from weft.cells import KEY_PATTERN, Cell
from weft.errors import IntegrityError, RequestError, WeftError

DATASETS = dg.DynamicPartitionsDefinition(name="datasets")
ITEMS = "content.item_embeddings"


@pytest.fixture
def storage(tmp_path) -> ParquetStorage:
    return ParquetStorage(base=str(tmp_path / "storage"))


def _asset(name: str, body, **ins: str) -> dg.AssetsDefinition:
    inputs = {argument: dg.AssetIn(upstream.split(".")) for argument, upstream in ins.items()}
    return dg.asset(key=name.split("."), partitions_def=DATASETS, ins=inputs, code_version="7")(body)


def _run(storage: ParquetStorage, *assets: dg.AssetsDefinition, key: str = "shop") -> dg.ExecuteInProcessResult:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("datasets", [key])
    return dg.materialize(assets, instance=instance, partition_key=key, resources={"io_manager": storage})


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict]:
    return {
        ".".join(event.asset_key.path): {key: entry.value for key, entry in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
    }


def test_inputs_come_as_their_annotation_says_and_are_named_in_the_footer(storage) -> None:
    seen = {}

    def made() -> pl.LazyFrame:
        return users("ann", "bob").lazy()

    def vector_tables(u: pl.DataFrame) -> dg.Output[Leaves]:
        seen["frame"] = u
        cells = {FITTED: Table(vectors(4), {"system": "sasrec"}), FITTED.with_seed(1): vectors(8)}
        return dg.Output(cells, metadata={"loss": 0.5})

    def counted(u: pl.LazyFrame, v: Leaves) -> pl.DataFrame:
        seen["lazy"], seen["leaves"] = u, v
        return pl.DataFrame({"n": [len(v)]})

    result = _run(
        storage, _asset(USERS, made), _asset(ITEMS, vector_tables, u=USERS), _asset("a.b", counted, u=USERS, v=ITEMS)
    )
    assert isinstance(seen["frame"], pl.DataFrame)
    assert isinstance(seen["lazy"], pl.LazyFrame)
    assert {cell: frame.collect().height for cell, frame in seen["leaves"].items()} == {
        FITTED: 2, FITTED.with_seed(1): 2
    }  # fmt: skip
    store = storage.store
    footer = store.footer(ITEMS, FITTED)
    assert (footer["system"], footer["code_version"], footer["run_id"]) == ("sasrec", "7", result.run_id)
    assert store.digest(USERS, SHOP) in footer["inputs"]
    inputs = store.footer("a.b", SHOP)["inputs"]
    for asset, cell in [(USERS, SHOP), (ITEMS, FITTED), (ITEMS, FITTED.with_seed(1))]:
        assert store.digest(asset, cell) in inputs


def test_dagster_shows_counts_columns_and_an_escaped_preview(storage) -> None:
    def made() -> pl.DataFrame:
        return users("<b>|x|</b>", "y" * 500)

    def pictures() -> pl.DataFrame:
        schema = {"item": pl.Int32, "width": pl.Int32, "height": pl.Int32, "jpeg": pl.Binary}
        return pl.DataFrame([(1, 2, 2, b"secret bytes")], schema=schema, orient="row")

    shown = _metadata(_run(storage, _asset(USERS, made), _asset("interactions.images", pictures)))
    entry = shown[USERS]
    assert entry["dagster/partition_row_count"] == 2
    assert "dagster/row_count" not in entry
    assert entry["bytes"] == storage.store.leaves(USERS)[0].bytes
    assert entry["content_digest"] == storage.store.digest(USERS, SHOP)
    assert entry["dagster/uri"].startswith("file:///")
    assert [(c.name, c.type, c.constraints.nullable) for c in entry["dagster/column_schema"].columns] == [
        ("user", "Int32", False), ("user_id", "String", False)
    ]  # fmt: skip
    assert entry["dagster/column_schema"].columns[0].constraints.unique
    assert "&lt;b&gt;&#124;x&#124;" in entry["preview"]
    assert len(entry["preview"]) < 500
    assert "secret" not in shown["interactions.images"]["preview"]
    assert storage.store.exists("interactions.images", SHOP)


def test_a_rebuild_is_evaluated_under_the_lock_and_names_what_it_read(storage) -> None:
    def made() -> pl.DataFrame:
        return users("ann")

    def report(io_manager: dg.ResourceParam[ParquetStorage]) -> Rebuild:
        def build() -> pl.DataFrame:
            assert io_manager.store.path("a.b", SHOP).with_name(".data.parquet.lock.holder").exists()
            return io_manager.store.read(USERS, SHOP)

        return Rebuild(build)

    _run(storage, _asset(USERS, made), dg.asset(key=["a", "b"], deps=[["interactions", "users"]],
                                                partitions_def=DATASETS)(report))  # fmt: skip
    assert storage.store.digest(USERS, SHOP) in storage.store.footer("a.b", SHOP)["inputs"]


def test_what_a_body_reads_from_the_store_is_named_and_what_another_stage_read_is_not(storage) -> None:
    def made() -> pl.DataFrame:
        return users("ann")

    def reads(u: pl.LazyFrame, io_manager: dg.ResourceParam[ParquetStorage]) -> pl.DataFrame:
        return io_manager.store.read(USERS, SHOP)

    def reads_not() -> pl.DataFrame:
        return pl.DataFrame({"x": [1]})

    second = dg.asset(key=["z", "z"], deps=[["a", "b"]], partitions_def=DATASETS)(reads_not)
    _run(storage, _asset(USERS, made), _asset("a.b", reads, u=USERS), second)
    assert storage.store.footer("a.b", SHOP)["inputs"].count(USERS) == 1
    assert storage.store.footer("z.z", SHOP)["inputs"] == "[]"


def test_a_leaf_names_what_its_own_cell_is_made_from_and_not_what_its_sibling_was(storage) -> None:
    cells = [FITTED, FITTED.with_seed(1)]

    def made() -> pl.DataFrame:
        return users("ann")

    def first(u: pl.DataFrame) -> dg.Output[Leaves]:
        return dg.Output({cell: vectors(4 + (cell.seed or 0)) for cell in cells})

    def second(u: pl.DataFrame, v: Leaves) -> dg.Output[Leaves]:
        return dg.Output({cell: frame.collect() for cell, frame in v.items()})

    _run(
        storage, _asset(USERS, made), _asset(ITEMS, first, u=USERS),
        _asset("content.text_embeddings", second, u=USERS, v=ITEMS),
    )  # fmt: skip
    store = storage.store
    digests = [store.digest(ITEMS, cell) for cell in cells]
    for cell, own, other in zip(cells, digests, digests[::-1], strict=True):
        inputs = store.footer("content.text_embeddings", cell)["inputs"]
        assert own in inputs
        assert other not in inputs
        assert store.digest(USERS, SHOP) in inputs, "what depends on data alone belongs to every cell"


def test_inputs_are_those_of_this_run_and_an_output_is_no_input_of_its_sibling(storage) -> None:
    @dg.multi_asset(
        outs={"first": dg.AssetOut(key=["a", "first"]), "second": dg.AssetOut(key=["a", "second"])},
        deps=[USERS.split(".")],
        partitions_def=DATASETS,
    )
    def pair(context, io_manager: dg.ResourceParam[ParquetStorage]):
        table = io_manager.store.read(USERS, Cell(context.partition_key))
        yield dg.Output(table, "first")
        yield dg.Output(table, "second")

    for key in ("shop", "cafe"):
        _run(storage, _asset(USERS, lambda: users("ann")), pair, key=key)
    for name in ("a.first", "a.second"):
        inputs = json.loads(storage.store.footer(name, Cell("cafe"))["inputs"])
        assert [(read["asset"], read["cell"]) for read in inputs] == [(USERS, "dataset=cafe")]


def test_nothing_under_storage_is_a_pickle(storage, tmp_path) -> None:
    _run(storage, _asset(USERS, lambda: users("ann")), _asset("a.b", lambda: {FITTED: Table(vectors(4))}))
    files = [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert {path.name for path in files} <= {
        "data.parquet", ".data.parquet.digest", ".data.parquet.lock", "catalogue.duckdb", ".catalogue.duckdb.lock"
    } | {path.name for path in files if ".pins" in path.parts}  # fmt: skip
    assert all(path.read_bytes()[:1] != b"\x80" for path in files)


def test_a_value_that_is_no_table_is_refused(storage) -> None:
    with pytest.raises(RequestError, match=r"a\.b returned list, which is no table"):
        _run(storage, _asset("a.b", lambda: [1, 2]))
    with pytest.raises(RequestError, match="dataset=other is no cell of shop"):
        _run(storage, _asset("a.b", lambda: {Cell("other"): users("ann")}))


@pytest.mark.parametrize("key", ["../../evil", "..", "a/b", "/etc", "Shop", "a..b"])
def test_a_key_that_names_another_folder_is_refused_and_nothing_is_written(storage, tmp_path, key) -> None:
    with pytest.raises(RequestError, match="is not allowed"):
        _run(storage, _asset(USERS, lambda: users("ann")), key=key)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@given(st.one_of(st.text(max_size=70), st.from_regex(r"[a-z0-9./%\\=~-]{1,20}", fullmatch=True)))
def test_no_key_leaves_the_storage(key: str) -> None:
    store = ArtifactStore("/srv/storage")
    try:
        path = store.path(USERS, Cell(key))
    except WeftError:
        assert not KEY_PATTERN.fullmatch(key) or ".." in key
        return
    assert str(path.resolve()) == f"/srv/storage/interactions/users/dataset={key}/data.parquet"


def test_a_damaged_input_stops_the_stage_and_names_the_file(storage) -> None:
    made, reader = _asset(USERS, lambda: users("ann")), _asset("a.b", lambda u: u, u=USERS)
    _run(storage, made)
    path = storage.store.path(USERS, SHOP)
    path.write_bytes(path.read_bytes()[:-20])
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("datasets", ["shop"])
    with pytest.raises(IntegrityError, match=str(path)):
        dg.materialize([made, reader], instance=instance, partition_key="shop", selection=[reader],
                       resources={"io_manager": storage})  # fmt: skip


def test_the_storage_may_be_an_object_store(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    storage = ParquetStorage(base=f"memory://dagster/{tmp_path.name}")

    def count(u: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"n": [u.height]})

    result = _run(storage, _asset(USERS, lambda: users("ann", "bob")), _asset("a.b", count, u=USERS))
    assert storage.store.read("a.b", SHOP).item() == 2
    assert _metadata(result)[USERS]["dagster/uri"].startswith("memory:")


def test_the_environment_names_the_storage(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WEFT_STORAGE", str(tmp_path / "here"))
    assert str(ParquetStorage().store.base) == str(tmp_path / "here")
