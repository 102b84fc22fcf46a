"""What is found in a folder while others work in it."""

import os
from pathlib import Path

import pytest

from resources.places import place

PATTERN = "*/*/dataset=*/**/data.parquet"


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_hidden_folders_are_not_looked_into(tmp_path: Path) -> None:
    seen = _file(tmp_path / "interactions/splits/dataset=tiny/protocol=p/data.parquet")
    _file(tmp_path / ".catalogue.duckdb.abc/splits/dataset=tiny/data.parquet")
    _file(tmp_path / "interactions/splits/dataset=tiny/.old/data.parquet")
    assert [str(path) for path in place(str(tmp_path)).find(PATTERN)] == [str(seen)]


@pytest.mark.parametrize("gone", [".catalogue.duckdb.abc", "interactions/splits/dataset=tiny/protocol=q"])
def test_a_folder_that_vanishes_while_it_is_listed_is_passed_over(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _file(tmp_path / "interactions/splits/dataset=tiny/protocol=p/data.parquet")
    (tmp_path / gone / "inside").mkdir(parents=True)
    scandir = os.scandir

    def too_late(path: str | os.PathLike[str] = ".") -> object:
        if str(path).rstrip("/").endswith(gone):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", too_late)
    assert [str(path) for path in place(str(tmp_path)).find(PATTERN)] == [str(seen)]
