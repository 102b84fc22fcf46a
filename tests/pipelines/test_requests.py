"""What a person asks for and hands in: data as they come, settings as they are typed, files as they are edited."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell
from weft.data import registry

PARTS = {"interactions": {"timestamp": "time", "part": "part"}}
TIMED = {"interactions": {"timestamp": "time"}}


def add(storage: Path, name: str, mapping: dict, rows: Iterable[str]) -> None:
    """Registers a data set of rows ``user,item,time,part``."""
    file = storage / f"{name}.csv"
    file.write_text("\n".join(["user,item,time,part", *rows]))
    registry.save(str(storage), registry.specify(str(storage), name, source=str(file), mapping=mapping))


def visits(parts: Iterable[str], users: int = 12) -> list[str]:
    """One row per user and part; users go round a circle of 7 items."""
    return [f"u{user},i{(user + step) % 7},{step},{part}" for user in range(users) for step, part in enumerate(parts)]


def test_an_item_rated_twice_in_one_second_stops_nobody(tiny_storage: Path) -> None:
    rows = [row.rsplit(",", 1)[0] + "," for row in visits(["", "", "", ""])]
    file = tiny_storage / "twice.csv"
    rated = [f"{row}{number % 5}" for number, row in enumerate(rows)]
    file.write_text("\n".join(["user,item,time,stars", *rated, "u0,i3,3,1"]))
    mapping = {"interactions": {"timestamp": "time", "rating": "stars"}}
    registry.save(str(tiny_storage), registry.specify(str(tiny_storage), "twice", source=str(file), mapping=mapping))
    result = make(tiny_storage, "popularity", dataset="twice")
    assert result.success
    (own,) = [each for each in result.get_asset_check_evaluations() if each.check_name == "no_target_in_own_history"]
    assert own.passed
    assert own.metadata["taken_before_in_the_same_second"].value == 1


def test_data_with_only_train_and_test_parts_run_and_the_lack_is_told(tiny_storage: Path) -> None:
    add(tiny_storage, "halves", PARTS, visits(["train", "train", "train", "test"]))
    small = {"behaviour__sasrec": {"config": {"width": 8, "epochs": 2, "length": 5}}}
    result = make(tiny_storage, "popularity", "itemknn", "sasrec", dataset="halves", ops=small)
    assert result.success
    told = [check.description for check in result.get_asset_check_evaluations() if not check.passed]
    assert told == ["dataset=halves/protocol=predefined: nothing in validation: early stopping is off"]
    board = ArtifactStore(tiny_storage).read("reports.leaderboard", Cell("halves"))
    assert set(board["system"]) == {"popularity", "itemknn", "sasrec"}


@pytest.mark.parametrize("parts", [["train", "train"], ["validation", "test"]])
def test_data_with_nothing_to_fit_or_to_ask_stop_at_once(tiny_storage: Path, parts: list[str]) -> None:
    add(tiny_storage, "poor", PARTS, visits(parts))
    assert not make(tiny_storage, "popularity", dataset="poor").success
    assert not ArtifactStore(tiny_storage).leaves("baselines.*")


def test_parts_that_are_not_by_time_are_a_warning_beside_another_protocol_too(tiny_storage: Path) -> None:
    add(tiny_storage, "mixed", PARTS, visits(["train", "validation", "test", "train"]))
    result = make(tiny_storage, "popularity", dataset="mixed", protocols=["predefined", "leave_one_out"])
    assert result.success
    told = [check.description for check in result.get_asset_check_evaluations() if not check.passed]
    assert told == ["dataset=mixed/protocol=predefined: 12"]
