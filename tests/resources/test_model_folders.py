from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from resources import maintenance, model_folders, weights
from resources.artifacts import ArtifactStore
from weft.cells import Cell
from weft.errors import IntegrityError, MissingArtifactError

SHARED = Cell("shared")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    save_file({"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1, np.float16)},
              folder / "model.safetensors")  # fmt: skip
    (folder / "config.json").write_bytes(b'{"width": 3}')
    (folder / "sub" / "empty.txt").write_bytes(b"")
    return folder


def test_a_model_folder_comes_back_from_its_table_byte_by_byte(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"

    model_folders.to_folder(model_folders.to_table(folder), again)

    assert (again / "config.json").read_bytes() == b'{"width": 3}'
    assert (again / "sub" / "empty.txt").read_bytes() == b""
    found = load_file(again / "model.safetensors")
    assert found["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].dtype == np.float16
    assert sorted(path.name for path in again.rglob("*") if path.is_file()) == [
        "config.json", "empty.txt", "model.safetensors",
    ]  # fmt: skip


def test_a_folder_without_tensors_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(IntegrityError, match="holds no"):
        model_folders.to_table(tmp_path)


@pytest.mark.parametrize("name", ["file/../evil", "file//etc/evil", "../evil.safetensors/w"])
def test_a_table_cannot_write_outside_its_folder(name: str, tmp_path: Path) -> None:
    table = weights.to_table({name: np.zeros(2, np.float32)})
    with pytest.raises(IntegrityError, match="may not hold"):
        model_folders.to_folder(table, tmp_path / "inner" / "model")
    assert not list(tmp_path.rglob("evil*"))


def test_a_kept_model_is_unpacked_once_and_a_new_one_gets_a_folder_of_its_own(folder: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "storage")
    with pytest.raises(MissingArtifactError):
        model_folders.opened(store, "house.language_model", SHARED)
    store.write("house.language_model", SHARED, model_folders.to_table(folder))

    first, revision = model_folders.opened(store, "house.language_model", SHARED)
    marker = first / "config.json"
    before = marker.stat().st_mtime_ns
    again, _ = model_folders.opened(store, "house.language_model", SHARED)
    assert (again, marker.stat().st_mtime_ns) == (first, before)

    (folder / "config.json").write_bytes(b'{"width": 4}')
    store.write("house.language_model", SHARED, model_folders.to_table(folder))
    second, newer = model_folders.opened(store, "house.language_model", SHARED)
    assert second != first
    assert newer != revision
    assert (second / "config.json").read_bytes() == b'{"width": 4}'
    assert not [path for path in second.parent.iterdir() if path.name.startswith(".")]


def test_only_the_last_few_unpacked_models_are_kept(folder: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "storage")
    seen = []
    for version in range(5):
        (folder / "config.json").write_text(str(version))
        store.write("house.language_model", SHARED, model_folders.to_table(folder))
        seen.append(model_folders.opened(store, "house.language_model", SHARED)[0])
    assert [path.is_dir() for path in seen] == [False, False, True, True, True]


def test_an_exported_model_is_the_folder_that_other_libraries_open(folder: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "storage")
    leaf = store.write("house.language_model", SHARED, model_folders.to_table(folder))
    out = maintenance.export(store, leaf, tmp_path / "out")
    assert (out / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    assert set(load_file(out / "model.safetensors")) == {"a.weight", "b"}


def test_an_unpacked_model_is_no_artifact(folder: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "storage")
    store.write("house.language_model", SHARED, model_folders.to_table(folder))
    model_folders.opened(store, "house.language_model", SHARED)
    assert [leaf.asset for leaf in store.leaves()] == ["house.language_model"]
    assert isinstance(store.read("house.language_model", SHARED), pl.DataFrame)


def test_a_damaged_unpacked_model_is_unpacked_again(folder: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "storage")
    store.write("house.language_model", SHARED, model_folders.to_table(folder))
    unpacked, _ = model_folders.opened(store, "house.language_model", SHARED)
    (unpacked / "config.json").write_bytes(b"")
    again, _ = model_folders.opened(store, "house.language_model", SHARED)
    assert (again / "config.json").read_bytes() == b'{"width": 3}'


def test_whoever_opens_a_model_is_made_from_it_the_second_time_too(folder: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "storage")
    store.write("house.language_model", SHARED, model_folders.to_table(folder))
    for _ in range(2):
        with store.reading() as reads:
            model_folders.opened(store, "house.language_model", SHARED)
        assert [read.asset for read in reads] == ["house.language_model"]
