"""Settings that were chosen: those of a storage before those that are shipped, and back from their file as chosen."""

from pathlib import Path

import pytest
import yaml

from weft.errors import RequestError, SourceError
from weft.models.registry import MODELS
from weft.models.settings import FitSettings, ItemKNNSettings, SASRecSettings, resolve, stated
from weft.models.settings.tuned import keep, path_of, tuned


def test_what_a_storage_chose_comes_before_what_is_shipped_model_by_model(tmp_path: Path) -> None:
    shipped = resolve(SASRecSettings, "sasrec", "ml-1m", {}, "leave_one_out")
    assert shipped.width == 128
    keep(tmp_path, "ml-1m", "leave_one_out", "sasrec", {"width": 48, "heads": 4})
    own = resolve(SASRecSettings, "sasrec", "ml-1m", {}, "leave_one_out", tmp_path)
    assert (own.width, own.heads, own.average) == (48, 4, 0.999), "the data set's own section stays below"
    assert resolve(SASRecSettings, "sasrec", "ml-1m", {"width": 32}, "leave_one_out", tmp_path).width == 32
    assert resolve(SASRecSettings, "sasrec", "ml-1m", {}, "global_time", tmp_path) == shipped
    assert resolve(SASRecSettings, "sasrec", "ml-1m", {}, "leave_one_out") == shipped
    assert resolve(ItemKNNSettings, "itemknn", "ml-1m", {}, "leave_one_out", tmp_path).recency == 0.8


def test_an_own_choice_replaces_a_shipped_one_whole(tmp_path: Path) -> None:
    shipped = resolve(SASRecSettings, "sasrec", "ml-1m", {}, "pointwise_collm_months")
    assert (shipped.width, shipped.batch) == (16, 256)
    keep(tmp_path, "ml-1m", "pointwise_collm_months", "sasrec", {"loss": "binary", "width": 8})
    own = resolve(SASRecSettings, "sasrec", "ml-1m", {}, "pointwise_collm_months", tmp_path)
    assert (own.width, own.batch) == (8, 128), "half of one choice and half of another was never tried"


def test_keeping_one_choice_leaves_the_others(tmp_path: Path) -> None:
    for protocol, model, width in (
        ("sessions", "sasrec", 8),
        ("sessions", "gru4rec", 16),
        ("global_time", "sasrec", 32),
    ):
        path = keep(tmp_path, "mine", protocol, model, {"width": width})
    keep(tmp_path, "mine", "sessions", "sasrec", {"width": 4})
    assert path == path_of(tmp_path, "mine")
    assert tuned("mine", tmp_path) == yaml.safe_load(path.read_text()) == {
        "sessions": {"sasrec": {"width": 4}, "gru4rec": {"width": 16}}, "global_time": {"sasrec": {"width": 32}},
    }  # fmt: skip
    assert tuned("mine") == {}
    assert [file.name for file in path.parent.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("protocol", ["leave_one_out", "pointwise_collm_months", "pointwise_time"])
@pytest.mark.parametrize("dataset", ["ml-1m", "mine"])
def test_what_is_stated_of_settings_gives_them_back(dataset: str, protocol: str, tmp_path: Path) -> None:
    for name, entry in MODELS.items():
        if not issubclass(entry.settings, FitSettings):
            continue
        before = resolve(entry.settings, name, dataset, {}, protocol)
        for fields in ({}, {"epochs": 7, "learning_rate": 0.004}, {"epochs": 100, "batch": 128, "learning_rate": 1e-3}):
            settings = before.model_copy(update=fields)
            keep(tmp_path, dataset, protocol, name, stated(settings, name, dataset, protocol, tmp_path))
            assert resolve(entry.settings, name, dataset, {}, protocol, tmp_path) == settings


def test_what_is_stated_is_short() -> None:
    settings = SASRecSettings(width=32, dropout=0.4)
    assert stated(settings, "sasrec", "mine", "leave_one_out") == {"width": 32, "dropout": 0.4}


@pytest.mark.parametrize("text", ["sasrec: 3", "leave_one_out: {sasrec: [1]}", "leave_one_out: 5"])
def test_a_file_that_holds_no_fields_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = path_of(tmp_path, "mine")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RequestError, match=r"mine\.yaml.*holds no fields"):
        tuned("mine", tmp_path)


def test_a_broken_file_and_an_unknown_field_are_told(tmp_path: Path) -> None:
    path = path_of(tmp_path, "mine")
    path.parent.mkdir()
    path.write_text("leave_one_out: {sasrec: {nonsense: 1}}")
    with pytest.raises(RequestError, match=r"sasrec\.nonsense"):
        resolve(SASRecSettings, "sasrec", "mine", {}, "leave_one_out", tmp_path)
    path.write_text("a: [1,")
    with pytest.raises(SourceError, match=r"mine\.yaml"):
        tuned("mine", tmp_path)


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="not allowed"):
        keep(tmp_path, "../evil", "sessions", "sasrec", {})
