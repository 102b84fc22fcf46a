"""Two shops that come split: who is asked, what is visible, and what nobody may train on."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from weft.data.cleaning import clean
from weft.data.registry import DatasetSpec, specify
from weft.data.sources import Source, open_source
from weft.errors import SourceError
from weft.evaluation.protocols import headline, protocol
from weft.schemas import RawInteractions

FILES = {
    "items.tsv.gz": 'item_id\tdomain\tasin\ttitle\n1\tFood\tF1\t"Salt" &amp; "Pepper\n2\tFood\tF2\tRice\n'
    "3\tKitchen\tK3\tPan\n4\tKitchen\tK4\tPot\n",
    "train.tsv.gz": "sequence_id\tkind\titems\n1\toverlap\t1,3,2\n2\tfood-only\t2,1\n",
    "valid.tsv.gz": "sequence_id\tkind\titems\n1\toverlap\t2,3,4\n",
    "test.tsv.gz": "sequence_id\tkind\titems\n1\toverlap\t3,1\n2\toverlap\t4,2,1\n",
}


def written(folder: Path, **changes: str) -> Path:
    folder.mkdir()
    for name, text in (FILES | {f"{stem}.tsv.gz": text for stem, text in changes.items()}).items():
        (folder / name).write_bytes(gzip.compress(text.encode()))
    return folder


def opened(folder: Path, tmp_path: Path) -> tuple[DatasetSpec, Source]:
    spec = specify(tmp_path / "storage", "amazon-food-kitchen", source=folder)
    return spec, open_source(spec)


def test_users_of_different_parts_never_mix_and_events_take_the_domain_of_their_item(tmp_path):
    spec, source = opened(written(tmp_path / "two"), tmp_path)
    own = specify(tmp_path / "storage", "mine", source=tmp_path / "two")
    assert (own.format, own.protocols) == ("cross-domain-tsv", {"predefined": {"targets": "last"}})
    every = specify(tmp_path / "storage", "mine", source=tmp_path / "two", protocols={"predefined": {"targets": "all"}})
    assert every.protocols == {"predefined": {"targets": "all"}}
    assert [note.split(":")[0] for note in source.check()] == ["no times", "no ratings"]
    raw = source.interactions().collect()
    RawInteractions.validate(raw)
    assert raw.select("row", "user_id", "item_id", "part").rows() == [
        (0, "train-1", "1", "train"),
        (1, "train-1", "3", "train"),
        (2, "train-1", "2", "train"),
        (3, "train-2", "2", "train"),
        (4, "train-2", "1", "train"),
        (5, "valid-1", "2", "validation"),
        (6, "valid-1", "3", "validation"),
        (7, "valid-1", "4", "validation"),
        (8, "test-1", "3", "test"),
        (9, "test-1", "1", "test"),
        (10, "test-2", "4", "test"),
        (11, "test-2", "2", "test"),
        (12, "test-2", "1", "test"),
    ]
    items = source.items()
    assert items["title"].to_list() == ['"Salt" & "Pepper', "Rice", "Pan", "Pot"]
    assert items["image"].to_list() == ["F1", "F2", "K3", "K4"]
    cleaned = clean(source.interactions(), items.lazy(), spec.rules)
    assert cleaned.interactions["domain"].to_list()[:3] == ["Food", "Kitchen", "Food"]


def test_the_last_item_of_a_held_out_sequence_is_asked_after_the_rest_of_it_and_none_of_it_is_trained_on(tmp_path):
    spec, source = opened(written(tmp_path / "two"), tmp_path)
    assert spec.comes_split
    name = headline(comes_split=spec.comes_split)
    rules = protocol(name, spec.protocols[name])
    cleaned = clean(source.interactions(), source.items().lazy(), spec.rules)
    splits = rules.split(cleaned.interactions.lazy()).collect()
    events = rules.events(splits, len(cleaned.users), len(cleaned.items))
    assert events.item.tolist() == [1, 3, 2, 2, 1]
    for split, targets, histories in (("validation", [4], [[2, 3]]), ("test", [1, 1], [[3], [4, 2]])):
        task = rules.task(splits, split, len(cleaned.items))
        assert task.target.tolist() == targets
        found = np.split(task.queries.items, task.queries.offsets[1:-1])
        assert [each.tolist() for each in found] == histories


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train": "1\toverlap\t1,2\n"}, r"train\.tsv\.gz has no header"),
        ({"items": "item\tdomain\tasin\ttitle\n1\tFood\tF1\tx\n"}, "has no column 'item_id'"),
        ({"valid": "sequence_id\tkind\titems\n"}, r"valid\.tsv\.gz has no rows"),
    ],
)
def test_files_that_cannot_be_used_are_one_clear_error_before_any_work(tmp_path, changes, why):
    _, source = opened(written(tmp_path / "two", **changes), tmp_path)
    with pytest.raises(SourceError, match=why):
        source.check()


def test_a_folder_that_lacks_a_part_is_refused_with_what_is_needed(tmp_path):
    folder = written(tmp_path / "two")
    (folder / "valid.tsv.gz").unlink()
    with pytest.raises(SourceError, match="is no cross-domain data set") as caught:
        opened(folder, tmp_path)[1].check()
    assert "valid.tsv" in caught.value.remedy
