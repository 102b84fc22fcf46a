import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from resources import catalogue, maintenance, weights
from resources.artifacts import ArtifactStore
from tests.resources.tables import FITTED, FREE, SHOP, USERS, users
from weft.errors import MissingArtifactError


@pytest.fixture
def store(tmp_path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "storage")


def test_weights_are_exported_as_safetensors_with_their_footer(store, tmp_path) -> None:
    tensors = {"items": np.arange(6, dtype=np.float32).reshape(2, 3)}
    leaf = store.write("behaviour.sasrec", FITTED, weights.to_table(tensors), attributes={"system": "sasrec"})
    file = maintenance.export(store, leaf, tmp_path / "out")
    assert file.name == "behaviour.sasrec-shop-leave_one_out-offline-full-0.safetensors"
    np.testing.assert_array_equal(load_file(file)["items"], tensors["items"])


def test_tables_are_exported_as_csv_with_lists_as_json(store, tmp_path) -> None:
    table = pl.DataFrame({"a": ["x", None], "genres": [["b", 'c"'], None], "jpeg": [b"\x00", b"\x01"]})
    leaf = store.write(FREE, SHOP, table)
    file = maintenance.export(store, leaf, tmp_path / "out")
    back = pl.read_csv(file)
    assert json.loads(back["genres"][0]) == ["b", 'c"']
    assert back.row(1) == (None, None, "AQ==")
    assert json.loads(file.with_suffix(".json").read_text())["content_digest"] == leaf.digest


def test_a_rollback_shows_in_the_catalogue(store) -> None:
    store.write(USERS, SHOP, users("ann"))
    (leaf,) = maintenance.select(store, USERS, dataset="shop", seed=None)
    store.write(USERS, SHOP, users("bob", "eve"))
    assert maintenance.rollback(store, leaf).rows == 1
    assert catalogue.query(store, "select user_id from interactions.users").item() == "ann"
    with pytest.raises(MissingArtifactError, match=r"interactions\.users has not been made for dataset cafe"):
        maintenance.select(store, USERS, dataset="cafe")


def test_the_doctor_finds_damage_in_versions_and_what_killed_writes_left(store) -> None:
    store.write(USERS, SHOP, users("ann"))
    store.write(USERS, SHOP, users("bob"))
    assert list(maintenance.doctor(store)) == []
    (version,) = store.history(USERS, SHOP)
    version.path.write_bytes(b"x" + version.path.read_bytes()[1:])
    left = store.path(USERS, SHOP).with_name(".data.parquet.999999999.tmp")
    left.touch()
    found = {problem.path: problem.damage for problem in maintenance.doctor(store)}
    assert found == {str(version.path): True, str(left): False}
