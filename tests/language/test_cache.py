"""The generation cache: what it keeps, what it survives, what it gives up."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from weft.errors import LockedError, WeftError
from weft.language.cache import Cache, Journal, answer_key, question_digest
from weft.language.engine import Answer, Identity, Message, Sampling

WHO = Identity("model", "revision", "adapter")
HELLO: list[Message] = [{"role": "user", "content": "hello"}]


def answer(text: str, seconds: float = 0.25) -> Answer:
    return Answer(text, "stop", 3, 4, seconds)


def filled(cache: Cache, *keys: str, text: str = "text of ") -> None:
    """One shard with these keys."""
    with cache.writing() as journal:
        for key in keys:
            journal.add(key, WHO, answer(text + key))


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def test_an_answer_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    odd = Answer("line\nline \u2028 \U0001f600 \x00 \"'", "length", 3, 4, 0.123)
    with Cache(tmp_path).writing() as journal:
        journal.add("a", WHO, odd)
        assert Cache(tmp_path).find(["a", "b"]) == {"a": odd}, "at once, for everybody"
    assert Cache(tmp_path).find(["b", "a"]) == {"a": odd}
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix in {".jsonl", ".parquet"}] == [".parquet"]


def test_an_empty_cache_finds_nothing_and_makes_no_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "none")
    assert cache.find(["a"]) == {}
    assert (cache.size(), cache.trim(0), len(cache.entries())) == (0, 0, 0)
    assert not (tmp_path / "none").exists()


def test_no_question_reads_no_shard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "1-damaged.parquet").write_bytes(b"x")
    assert Cache(tmp_path).find([]) == {}
    assert not caplog.records
    assert Cache(tmp_path).find(["a"]) == {}
    assert caplog.records


def test_all_that_can_change_an_answer_is_in_its_key() -> None:
    question = question_digest(HELLO)
    plain = answer_key(question, WHO, Sampling(), 0)
    assert plain == answer_key(question_digest([{"content": "hello", "role": "user"}]), WHO, Sampling(), 0)
    others = [
        answer_key(question_digest([{"role": "system", "content": "hello"}]), WHO, Sampling(), 0),
        answer_key(question_digest([1, 2]), WHO, Sampling(), 0),
        answer_key(question_digest([12]), WHO, Sampling(), 0),
        *(answer_key(question, Identity(*who), Sampling(), 0) for who in [
            ("other", "revision", "adapter"), ("model", "other", "adapter"), ("model", "revision", "other"),
        ]),
        *(answer_key(question, WHO, Sampling(**drawn), 0) for drawn in [
            {"max_tokens": 255}, {"temperature": 0.1}, {"top_p": 0.9}, {"stop": ("x",)}, {"seed": 1},
        ]),
        answer_key(question, WHO, Sampling(), 1),
    ]  # fmt: skip
    assert len({plain, *others}) == 1 + len(others)
    assert len(plain) == 64


def test_a_torn_last_line_is_no_answer_and_spoils_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "1-a.jsonl", lambda _: None)
    for key in "abc":
        journal.add(key, WHO, answer(key))
    whole = (tmp_path / "1-a.jsonl").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "1-a.jsonl").write_bytes(whole[:cut])
        found = Cache(tmp_path).find(list("abc"))
        assert {key: kept.text for key, kept in found.items()} == {key: key for key in "abc"[: len(found)]}
        assert len(found) >= whole[:cut].count(b"\n")


def test_the_journal_of_a_dead_writer_becomes_a_shard(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from weft.language.cache import Cache;"
        "from weft.language.engine import Answer, Identity\n"
        "with Cache(Path(sys.argv[1])).writing() as journal:\n"
        "    journal.add('a', Identity('m'), Answer('x', 'stop', 1, 1, 0.0)); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    assert Cache(tmp_path).find(["a"])["a"].text == "x"
    filled(Cache(tmp_path), "b")
    assert (len(list(tmp_path.glob("*.jsonl"))), len(shards(tmp_path))) == (0, 2)
    assert set(Cache(tmp_path).find(["a", "b"])) == {"a", "b"}
    assert not list(tmp_path.glob("*-*.lock"))


def test_a_living_writers_journal_is_left_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.writing() as journal:
        journal.add("a", WHO, answer("x"))
        filled(Cache(tmp_path), "b")
        assert len(list(tmp_path.glob("*.jsonl"))) == 1
        journal.add("c", WHO, answer("y"))
    assert set(cache.find(["a", "b", "c"])) == {"a", "b", "c"}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "foreign"])
def test_a_damaged_shard_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cache = Cache(tmp_path)
    filled(cache, "a")
    filled(cache, "b")
    shard = shards(tmp_path)[0]
    data = bytearray(shard.read_bytes())
    if damage == "flipped":
        data[len(data) // 3] ^= 4
    shard.write_bytes({"truncated": data[:-50], "emptied": b"", "foreign": b"PAR1 or so"}.get(damage, data))
    assert set(cache.find(["a", "b"])) == {"b"}
    assert shard.name in caplog.text
    filled(cache, "a")
    assert set(cache.find(["a", "b"])) == {"a", "b"}


def test_no_flipped_byte_gives_a_wrong_answer(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    filled(cache, "a")
    shard = shards(tmp_path)[0]
    whole = shard.read_bytes()
    for place in range(0, len(whole), 7):
        shard.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.find(["a"]) == {}
    shard.write_bytes(whole)
    assert set(cache.find(["a"])) == {"a"}


def test_a_full_journal_becomes_a_shard_while_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weft.language.cache._FULL", 400)
    with Cache(tmp_path).writing() as journal:
        for key in range(10):
            journal.add(str(key), WHO, answer("x" * 100))
        assert len(shards(tmp_path)) > 2
        assert len(Cache(tmp_path).find([str(key) for key in range(10)])) == 10


def test_an_error_of_the_run_loses_no_answer(tmp_path: Path) -> None:
    def run() -> None:
        with Cache(tmp_path).writing() as journal:
            journal.add("a", WHO, answer("x"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert len(shards(tmp_path)) == 1
    assert set(Cache(tmp_path).find(["a"])) == {"a"}


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with Cache(tmp_path).writing() as journal:
        journal.add("a", WHO, answer("x"))
        monkeypatch.setattr("weft.language.cache.os.write", lambda file, line: real(file, line[:20]))
        with pytest.raises(WeftError, match="disk is full"):
            journal.add("b", WHO, answer("y"))
    assert set(Cache(tmp_path).find(["a", "b"])) == {"a"}


def test_trim_removes_the_oldest_shards_until_the_rest_fits(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for key in "abc":
        filled(cache, key)
    sizes = [path.stat().st_size for path in shards(tmp_path)]
    assert cache.size() == sum(sizes)
    assert cache.trim(sum(sizes)) == 0
    assert cache.trim(sum(sizes) - 1) == sizes[0]
    assert set(cache.find(["a", "b", "c"])) == {"b", "c"}
    assert cache.trim(0) == sum(sizes[1:])
    assert cache.size() == 0


def test_nothing_is_trimmed_while_somebody_writes(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    filled(cache, "a")
    with cache.writing(), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        cache.trim(0)
    assert cache.trim(0) > 0


def test_what_a_dead_writer_left_does_not_stop_trimming(tmp_path: Path) -> None:
    (tmp_path / "1-a.lock").touch()
    (tmp_path / ".0-a.parquet.1.tmp").touch()
    journal = Journal(tmp_path / "1-a.jsonl", lambda _: None)
    journal.add("a", WHO, answer("x"))
    assert Cache(tmp_path).trim(10**6) == 0
    assert [path.suffix for path in tmp_path.iterdir()] in ([".parquet", ".lock"], [".lock", ".parquet"])
    assert set(Cache(tmp_path).find(["a"])) == {"a"}


def test_entries_sum_up_each_model_and_count_an_answer_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    filled(cache, "a", "b")
    filled(cache, "b")
    with cache.writing() as journal:
        journal.add("c", Identity("another"), answer("x", seconds=2.0))
    assert cache.entries().rows() == [
        ("another", "", "", 1, 3, 4, 2.0),
        ("model", "revision", "adapter", 2, 6, 8, 0.5),
    ]


def test_readers_miss_nothing_while_journals_become_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weft.language.cache._FULL", 1000)
    cache, kept, missed = Cache(tmp_path), [], []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            there = list(kept)
            missed.extend(set(there) - set(Cache(tmp_path).find(there)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with cache.writing() as journal:
            for key in map(str, range(150)):
                journal.add(key, WHO, answer("x" * 200))
                kept.append(key)
    finally:
        done.set()
        reader.join()
    assert missed == []


def test_the_lines_of_a_journal_are_json_behind_a_check_sum(tmp_path: Path) -> None:
    Journal(tmp_path / "1-a.jsonl", lambda _: None).add("a", WHO, answer("x"))
    (line,) = (tmp_path / "1-a.jsonl").read_text().splitlines()
    assert json.loads(line[9:])["text"] == "x"
