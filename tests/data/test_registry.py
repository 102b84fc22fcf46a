"""Data sets by name: what is written is what a run reads, and nothing leaves the storage."""

import pytest

from weft.data import registry
from weft.data.registry import BUILT_IN, DatasetSpec, load, load_all, names, register_built_in, save, specify
from weft.data.sources import open_source
from weft.errors import RequestError, SourceError


def test_the_built_in_data_sets_are_written_once_and_edits_stay(tmp_path):
    assert register_built_in(tmp_path) == sorted(BUILT_IN)
    assert load(tmp_path, "ml-1m") == BUILT_IN["ml-1m"]
    save(tmp_path, specify(tmp_path, "storefront", production=False, settings={"preset": "tiny"}))
    register_built_in(tmp_path)
    assert load(tmp_path, "storefront").settings == {"preset": "tiny"}
    assert not load(tmp_path, "storefront").production


def test_what_weft_does_not_download_is_refused_on_use_with_the_place_to_get_it(tmp_path):
    without = [name for name, spec in BUILT_IN.items() if spec.format != "storefront" and spec.url is None]
    assert without == ["amazon-beauty", "amazon-beauty-sequences", "amazon-food-kitchen", "book-crossing"]
    for name in without:
        with pytest.raises(SourceError, match=f"the files of {name} are not downloaded") as caught:
            open_source(specify(tmp_path, name)).check()
        assert BUILT_IN[name].origin in caught.value.remedy
        assert "--source PATH" in caught.value.remedy


def test_every_built_in_data_set_states_its_terms_and_every_download_its_checksum():
    for spec in BUILT_IN.values():
        assert spec.terms
        assert (spec.url is None) == (spec.checksum is None)


@pytest.mark.parametrize(
    ("name", "times", "ratings", "parts"),
    [
        ("ml-32m", True, True, False),
        ("amazon-beauty", True, True, False),
        ("amazon-beauty-sequences", False, False, False),
        ("amazon-food-kitchen", False, False, True),
        ("book-crossing", False, True, False),
    ],
)
def test_what_a_format_holds_is_known_before_it_is_read(name, times, ratings, parts):
    spec = BUILT_IN[name]
    assert (spec.has_times, spec.has_ratings, spec.comes_split) == (times, ratings, parts)


def test_changes_are_merged_into_what_was_there(tmp_path):
    save(tmp_path, specify(tmp_path, "ml-1m", rules={"min_item_events": 5}))
    spec = specify(tmp_path, "ml-1m", rules={"max_rejected_share": 0.2}, production=True)
    assert (spec.rules.min_item_events, spec.rules.rating_max, spec.rules.max_rejected_share) == (5, 5, 0.2)
    assert spec.production


def test_a_local_source_is_not_held_to_the_checksum_of_the_download(tmp_path):
    assert BUILT_IN["ml-1m"].checksum is not None
    spec = specify(tmp_path, "ml-1m", source="a.zip")
    assert spec.checksum is None
    assert spec.source.endswith("/a.zip")
    assert spec.source.startswith("/")


@pytest.mark.parametrize("name", ["../../evil", "..", "a/b", "Capital", "", "a" * 65])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    with pytest.raises(RequestError, match="not allowed"):
        specify(tmp_path, name, source="a.csv")
    with pytest.raises(RequestError, match="not allowed"):
        load(tmp_path, name)


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(RequestError, match="ml-1m"):
        specify(tmp_path, "ml-2m")
    with pytest.raises(RequestError, match="there is no data set 'ml-2m'"):
        load(tmp_path, "ml-2m")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": "tabular"}, "give a source"),
        ({"format": "storefront", "source": "a.csv"}, "takes no source"),
        ({"source": "a.csv", "checksum": "12345"}, "checksum: write 'sha256:'"),
        ({"source": "a.csv", "rules": {"rating_min": 5, "rating_max": 1}}, "rating_min must be below"),
        ({"source": "a.csv", "colour": "red"}, "colour"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(tmp_path, changes, why):
    with pytest.raises(RequestError, match=why):
        specify(tmp_path, "mine", **changes)


def test_a_file_that_is_no_yaml_is_one_clear_error_and_the_others_still_load(tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "bad.yaml").write_text("a: [1,")
    save(tmp_path, DatasetSpec(name="good", format="tabular", source="/x.csv"))
    with pytest.raises(SourceError, match=r"bad.yaml cannot be read as YAML"):
        load(tmp_path, "bad")
    assert names(tmp_path) == ["bad", "good"]
    assert set(load_all(tmp_path)) == {"good", *BUILT_IN}


def test_a_file_whose_name_is_no_key_is_left_out_with_a_warning_that_names_it(tmp_path, caplog):
    save(tmp_path, DatasetSpec(name="good", format="tabular", source="/x.csv"))
    (tmp_path / "datasets" / "my shop.yaml").write_text("format: storefront\n")
    assert names(tmp_path) == ["good"]
    assert set(load_all(tmp_path)) == {"good", *BUILT_IN}
    assert str(tmp_path / "datasets" / "my shop.yaml") in caplog.text


def test_an_item_file_in_a_mapping_is_seen_from_the_folder_of_the_mapping(tmp_path):
    (tmp_path / "m.yaml").write_text("items:\n  file: sub/items.csv\n")
    assert registry.read_mapping(tmp_path / "m.yaml")["items"]["file"] == str(tmp_path / "sub" / "items.csv")


def test_a_storage_on_an_object_store_holds_data_sets_too():
    base = "memory://bucket/storage"
    save(base, DatasetSpec(name="far", format="tabular", source="/x.csv"))
    assert load(base, "far").source == "/x.csv"
    assert names(base) == ["far"]
