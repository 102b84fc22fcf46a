"""What a person asks for and hands in: data as they come, settings as they are typed, files as they are edited."""

import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from pydantic import ValidationError

from assets.shown import of_rankings
from pipelines.cli import invoke
from pipelines.commands.options import parse_pairs
from pipelines.instance import open_instance, register_datasets
from pipelines.runs import request
from pipelines.schedules import nightly
from resources.artifacts import ArtifactStore
from resources.cells import Cells
from resources.data_source import DataSource
from tests.pipelines.running import make
from weft.cells import Cell
from weft.data import registry
from weft.errors import RequestError

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


def test_a_broken_and_a_misnamed_file_are_named_and_stop_neither_the_night_nor_the_list(
    tiny_storage: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tiny_storage / "datasets" / "broken.yaml").write_text("a: [1,")
    (tiny_storage / "datasets" / "my shop.yaml").write_text("format: storefront")
    with open_instance(str(tiny_storage)) as instance:
        names = register_datasets(instance, str(tiny_storage))
        assert names == sorted([*registry.BUILT_IN, "tiny"])
        night = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 1, 1, 2, tzinfo=UTC))
        assert [request.partition_key for request in nightly(night)] == ["storefront"]
    assert invoke(["datasets"]) == 0
    assert "tiny" in capfd.readouterr().out
    assert "broken.yaml" in caplog.text
    assert "my shop.yaml" in caplog.text


def test_a_name_that_leaves_the_folder_is_refused(tiny_storage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["datasets", "add", "../../evil", "--format", "storefront"]) == 2
    assert "not allowed" in capfd.readouterr().err
    assert not list(tiny_storage.parent.rglob("evil*"))


def test_settings_of_a_data_set_are_set_at_any_depth(tiny_storage: Path) -> None:
    add(tiny_storage, "mine", TIMED, visits(["", "", ""]))
    assert invoke(["datasets", "add", "mine", "--set", "mapping.time=ms", "--set", "image_side=64"]) == 0
    spec = registry.load(str(tiny_storage), "mine")
    assert (spec.mapping.time, spec.image_side, spec.mapping.interactions.timestamp) == ("ms", 64, "time")
    assert invoke(["datasets", "add", "mine", "--set", "source.x=1", "--source", str(tiny_storage / "mine.csv")]) == 2


def test_values_are_read_as_the_numbers_they_look_like() -> None:
    pairs = ["a.b=1e-3", "a.c=64", "a.d=0.1", "a.e=true", "a.f=cosine", "a.g=2E5", "a.h=nan", 'a.i="1e3"', "a.j=1_0x"]
    assert list(parse_pairs(pairs).values()) == [0.001, 64, 0.1, True, "cosine", 200000.0, "nan", "1e3", "1_0x"]


@pytest.mark.parametrize(
    "fields", [{"variants": []}, {"variants": ["none"]}, {"profile": "online"}, {"seeds": []}, {"seeds": [-1]}]
)
def test_cells_that_do_not_exist_are_refused(fields: dict) -> None:
    source = DataSource(base="nowhere")
    Cells(data_source=source)
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Cells(data_source=source, **fields)


def test_cit_rec_works_under_protocols_with_labels_and_under_the_one_with_few_candidates(tiny_storage: Path) -> None:
    named = ["leave_one_out", "pointwise_time", "paper_candidates_20", "paper_999_sampled"]
    source = DataSource(base=str(tiny_storage))
    cells = Cells(data_source=source, protocols=named, variants=["full", "text_only"], seeds=[3])
    judged = ["pointwise_time", "paper_candidates_20"]
    assert cells.of_system("cit_rec", "tiny") == [
        Cell("tiny", rule, "offline", variant, 3) for rule in judged for variant in ("full", "text_only")
    ]
    assert cells.of_states("tiny") == [Cell("tiny", rule, "offline", seed=3) for rule in judged]
    assert [cell.protocol for cell in Cells(data_source=source).of_system("cit_rec", "tiny")] == ["pointwise_time"]


def test_one_among_a_few_is_ranked_without_ratings_and_nothing_else_is(tiny_storage: Path) -> None:
    add(tiny_storage, "unrated", TIMED, visits(["", "", ""]))
    spec = registry.load(str(tiny_storage), "unrated")
    told = {"variants": "full", "seeds": "0", "profile": "offline", "settings": {}, "systems": "cit_rec"}
    assert request(spec, protocols="paper_candidates_20", **told).protocols == ["paper_candidates_20"]
    for protocols in ("", "pointwise_time"):
        with pytest.raises(RequestError, match="cit_rec needs ratings"):
            request(spec, protocols=protocols, **told)
    rated = registry.load(str(tiny_storage), "tiny")
    with pytest.raises(RequestError, match="cit_rec needs a pointwise protocol"):
        request(rated, protocols="paper_999_sampled", **told)
    source = DataSource(base=str(tiny_storage))
    cells = Cells(data_source=source, protocols=["pointwise_time", "paper_candidates_20"])
    assert [cell.protocol for cell in cells.of_system("cit_rec", "unrated")] == ["paper_candidates_20"]
    assert not Cells(data_source=source).of_system("cit_rec", "unrated")


@pytest.mark.parametrize(("protocols", "told"), [
    ({"leave_two_out": {}}, "there is no protocol 'leave_two_out'"),
    ({"global_time": {"cut": 1}}, "protocol rule global_time.cut"),
    ({"global_time": {"test_quantile": 2}}, "protocol rule global_time.test_quantile"),
])  # fmt: skip
def test_protocols_and_rules_that_do_not_exist_are_refused_in_a_data_set(
    tmp_path: Path, protocols: dict, told: str
) -> None:
    with pytest.raises(RequestError, match=told):
        registry.specify(tmp_path, "storefront", protocols=protocols)


@pytest.mark.parametrize(
    ("protocol", "lack"),
    [
        ("predefined", "part"),
        ("global_time", "timestamp"),
        ("sessions", "session or timestamp"),
        ("pointwise_time", "timestamp"),
        ("paper_tallrec_blocks", "rating"),
    ],
)
def test_a_protocol_that_the_data_cannot_serve_is_refused_before_any_work(
    tiny_storage: Path, protocol: str, lack: str, capfd: pytest.CaptureFixture[str]
) -> None:
    add(tiny_storage, "plain", {}, visits(["", "", ""]))
    assert invoke(["run", "-d", "plain", "--protocols", protocol]) == 2
    assert f"protocol '{protocol}' needs {lack}" in capfd.readouterr().err


def test_a_run_leaves_an_unchanged_data_set_as_a_person_wrote_it(
    tiny_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_work(*_: object) -> None:
        raise RequestError("no work in this test")

    monkeypatch.setattr("pipelines.runs.execute", no_work)
    file = tiny_storage / "datasets" / "tiny.yaml"
    file.write_text("# mine\n" + file.read_text())
    assert invoke(["run", "-d", "tiny"]) == 2
    assert file.read_text().startswith("# mine")
    (tiny_storage / "tiny.csv").write_text("user,item\nu,i\n")
    assert invoke(["run", "-d", "new", "--source", str(tiny_storage / "tiny.csv")]) == 2
    assert registry.load(str(tiny_storage), "new").format == "tabular"


def test_a_rollback_of_several_cells_changes_none_where_one_has_no_earlier_version(
    tiny_storage: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = ArtifactStore(tiny_storage)
    first, second = (Cell("tiny", "leave_one_out", "offline", "full", seed) for seed in (0, 1))
    for value in (1, 2):
        store.write("notes.any", first, pl.DataFrame({"x": [value]}))
    store.write("notes.any", second, pl.DataFrame({"x": [1]}))
    assert invoke(["rollback", "notes.any", "-d", "tiny"]) == 1
    assert "seed=1 has no earlier version" in capfd.readouterr().err
    assert store.read("notes.any", first)["x"].item() == 2
    assert invoke(["rollback", "notes.any", "-d", "tiny", "--seed", "0"]) == 0
    assert store.read("notes.any", first)["x"].item() == 1


def test_a_target_without_a_score_stands_last_in_what_a_person_sees(tiny_storage: Path) -> None:
    ranked = pl.DataFrame({"split": ["validation", "test"], "score": [None, None], "better": 0, "equal": 0})
    shown = of_rankings({Cell("tiny"): ranked.with_columns(pl.col("score").cast(pl.Float32))})
    assert shown["validation NDCG@10"] == 0
    assert "| 1001 and worse | 100.0% |" in shown["ranks"].value


def test_the_doctor_ends_without_complaints_of_libraries_and_takes_its_pins_along(tiny_storage: Path) -> None:
    ArtifactStore(tiny_storage).write("notes.any", Cell("tiny"), pl.DataFrame({"x": [1]}))
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert "1 artifacts verified" in done.stdout
    assert not list((tiny_storage / ".pins").iterdir())
