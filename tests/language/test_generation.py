"""Prompts to answers: each question once, whatever happens in between."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.language.test_prompts import catalogue
from tests.language.writers import FakeWriter
from weft.language import answers, enrichment
from weft.language.cache import Cache
from weft.language.engine import Sampling
from weft.language.generation import Tally, generate
from weft.schemas import EnrichmentGenerations

COLD, WARM = Sampling(max_tokens=9), Sampling(temperature=1.0, seed=5)


def asked(*titles: str) -> pl.DataFrame:
    return enrichment.prompts(catalogue(*titles), "brief")


def run(prompts: pl.DataFrame, writer: FakeWriter, folder: Path, **settings) -> tuple[pl.DataFrame, Tally]:
    settings = {"sampling": COLD, "parse": answers.prose, **settings}
    table, tally = generate(prompts, writer, cache=Cache(folder), **settings)
    return EnrichmentGenerations.validate(table.select(EnrichmentGenerations.column_names())), tally


def test_every_prompt_has_its_answer_and_who_gave_it(tmp_path: Path) -> None:
    table, tally = run(asked("A", "B", "C"), FakeWriter(adapter="lora"), tmp_path)
    assert table.select("item", "raw", "status", "attempts").rows() == [
        (1, "Tell me about A.", "answered", 1),
        (2, "Tell me about B.", "answered", 1),
        (3, "Tell me about C.", "answered", 1),
    ]
    first = table.row(0, named=True)
    assert (first["model"], first["revision"], first["adapter"], first["finish"]) == ("fake", "1", "lora", "stop")
    assert (first["tokens_in"], first["tokens_out"], first["seconds"], first["error"]) == (1, 4, 0.5, None)
    assert first["prompt_version"].startswith("brief@")
    assert Sampling.model_validate_json(first["sampling"]) == COLD
    assert tally == Tally(prompts=3, questions=3, cached=0, called=3, retried=0, malformed=0, failed=0)


def test_a_second_run_asks_nothing_and_gives_the_same_table(tmp_path: Path) -> None:
    first, _ = run(asked("A", "B"), FakeWriter(), tmp_path)
    writer = FakeWriter(lambda *_: "something else")
    second, tally = run(asked("A", "B"), writer, tmp_path)
    assert_frame_equal(first, second)
    assert writer.calls == []
    assert (tally.cached, tally.called) == (2, 0)


def test_a_changed_title_is_one_call(tmp_path: Path) -> None:
    run(asked("A", "B", "C"), FakeWriter(), tmp_path)
    writer = FakeWriter()
    run(asked("A", "B!", "C"), writer, tmp_path)
    assert writer.calls == ["Tell me about B!."]


def test_two_data_sets_share_the_answer_to_the_same_text(tmp_path: Path) -> None:
    run(asked("A", "B"), FakeWriter(), tmp_path)
    writer = FakeWriter()
    table, _ = run(asked("X", "Y", "B"), writer, tmp_path)
    assert sorted(writer.calls) == ["Tell me about X.", "Tell me about Y."]
    assert table["raw"][2] == "Tell me about B."


@pytest.mark.parametrize(
    ("writer", "settings"),
    [
        (FakeWriter(revision="2"), {}),
        (FakeWriter(model="other"), {}),
        (FakeWriter(adapter="lora"), {}),
        (FakeWriter(), {"sampling": COLD.model_copy(update={"max_tokens": 10})}),
    ],
)
def test_another_model_or_sampling_asks_again(tmp_path: Path, writer: FakeWriter, settings: dict) -> None:
    run(asked("A"), FakeWriter(), tmp_path)
    run(asked("A"), writer, tmp_path, **settings)
    assert len(writer.calls) == 1


def test_the_version_of_a_template_is_a_column_and_no_part_of_the_key(tmp_path: Path) -> None:
    run(asked("A"), FakeWriter(), tmp_path)
    writer = FakeWriter()
    table, _ = run(asked("A").with_columns(prompt_version=pl.lit("new@1")), writer, tmp_path)
    assert writer.calls == []
    assert table["prompt_version"].to_list() == ["new@1"]


def test_the_same_words_are_asked_once(tmp_path: Path) -> None:
    writer = FakeWriter()
    table, tally = run(asked("A", "A", "B", "A"), writer, tmp_path)
    assert Counter(writer.calls) == {"Tell me about A.": 1, "Tell me about B.": 1}
    assert table["raw"].to_list() == [f"Tell me about {title}." for title in "AABA"]
    assert (tally.prompts, tally.questions) == (4, 2)


def test_what_cannot_be_read_is_asked_again_with_the_next_seed(tmp_path: Path) -> None:
    writer = FakeWriter(lambda content, seed: "fine" if "A" in content or seed == 7 else "…")
    table, tally = run(asked("A", "B"), writer, tmp_path, sampling=WARM, attempts=4)
    assert table.select("raw", "status", "attempts").rows() == [("fine", "answered", 1), ("fine", "retried", 3)]
    drawn = [Sampling.model_validate_json(text) for text in table["sampling"]]
    assert drawn == [WARM, WARM.model_copy(update={"seed": 7})]
    assert (tally.called, tally.retried, tally.malformed) == (4, 1, 0)
    again = FakeWriter()
    repeated, tally = run(asked("A", "B"), again, tmp_path, sampling=WARM, attempts=4)
    assert_frame_equal(repeated, table)
    assert (again.calls, tally.cached) == ([], 4)


def test_a_second_try_of_the_likeliest_answer_is_drawn(tmp_path: Path) -> None:
    seen: list[float] = []

    class Noting(FakeWriter):
        def generate(self, prompts, sampling):
            seen.append(sampling.temperature)
            return super().generate(prompts, sampling)

    run(asked("A"), Noting(lambda *_: ""), tmp_path, attempts=2)
    assert seen == [0.0, 0.7]


def test_after_the_last_try_the_raw_answer_stays_and_is_marked(tmp_path: Path) -> None:
    writer = FakeWriter(lambda content, seed: f"?!{'?' * seed}")
    table, tally = run(asked("A"), writer, tmp_path, attempts=3)
    assert table.select("raw", "status", "attempts").rows() == [("?!??", "malformed", 3)]
    assert (tally.called, tally.malformed) == (3, 1)
    again = FakeWriter()
    run(asked("A"), again, tmp_path, attempts=3)
    assert again.calls == [], "malformed answers are kept too"
    run(asked("A"), again, tmp_path, attempts=4)
    assert len(again.calls) == 1, "one more try is one more call"


def test_what_nobody_answered_is_marked_and_asked_for_by_the_next_run(tmp_path: Path) -> None:
    writer = FakeWriter(lambda content, _: None if "B" in content else "fine")
    table, tally = run(asked("A", "B"), writer, tmp_path)
    assert table.select("raw", "finish", "status", "error").rows() == [
        ("fine", "stop", "answered", None),
        ("", "failed", "failed", "nobody there"),
    ]
    assert (tally.called, tally.failed) == (2, 1), "the writer itself has tried often enough"
    again = FakeWriter()
    table, tally = run(asked("A", "B"), again, tmp_path)
    assert again.calls == ["Tell me about B."]
    assert table["status"].to_list() == ["answered", "answered"]


def test_a_failure_does_not_take_the_place_of_an_answer_that_cannot_be_read(tmp_path: Path) -> None:
    writer = FakeWriter(lambda _, seed: "…" if seed == 0 else None)
    table, _ = run(asked("A"), writer, tmp_path)
    assert table.select("raw", "status", "attempts").rows() == [("…", "malformed", 1)]


def test_an_answer_that_cannot_be_written_as_text_is_mended(tmp_path: Path) -> None:
    first, _ = run(asked("A"), FakeWriter(lambda *_: "half \ud83d a pair"), tmp_path)
    second, _ = run(asked("A"), FakeWriter(), tmp_path)
    assert first["raw"].to_list() == ["half ? a pair"]
    assert_frame_equal(first, second)


def test_no_prompts_give_an_empty_table(tmp_path: Path) -> None:
    table, tally = run(asked(), FakeWriter(), tmp_path)
    assert (len(table), tally.called) == (0, 0)


PROGRAM = """
import os, signal, sys
from pathlib import Path
from tests.language.test_generation import asked, run
from tests.language.writers import FakeWriter
folder, first, last, die, wait = Path(sys.argv[1]), *map(float, sys.argv[2:])

class Mortal(FakeWriter):
    def generate(self, prompts, sampling):
        for number, answered in enumerate(super().generate(prompts, sampling), 1):
            yield answered
            if number == die:
                os.kill(os.getpid(), signal.SIGKILL)

writer = Mortal(log=folder / "calls", wait=wait)
run(asked(*(f"work {number}" for number in range(int(first), int(last)))), writer, folder / "cache")
"""


def program(folder: Path, first: int, last: int, die: int = 0, wait: float = 0.0) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM, str(folder), *map(str, (first, last, die, wait))]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2])


def calls(folder: Path) -> int:
    return (folder / "calls").read_bytes().count(b"\n") if (folder / "calls").exists() else 0


def test_killed_at_half_and_run_again_adds_up_to_one_pass(tmp_path: Path) -> None:
    assert program(tmp_path, 0, 200, die=100).wait() == -signal.SIGKILL
    assert calls(tmp_path) == 100
    assert program(tmp_path, 0, 200).wait() == 0
    assert calls(tmp_path) == 200
    _, tally = run(asked(*(f"work {number}" for number in range(200))), FakeWriter(), tmp_path / "cache")
    assert (tally.cached, tally.called) == (200, 0)


def test_killed_at_any_moment_at_most_the_answer_on_its_way_is_asked_again(tmp_path: Path) -> None:
    first = program(tmp_path, 0, 200, wait=0.005)
    while calls(tmp_path) < 60:
        assert first.poll() is None
        time.sleep(0.001)
    first.kill()
    first.wait()
    assert calls(tmp_path) < 200
    assert program(tmp_path, 0, 200).wait() == 0
    assert calls(tmp_path) in (200, 201)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    both = [program(tmp_path, 0, 120, wait=0.002), program(tmp_path, 80, 200, wait=0.002)]
    assert [process.wait() for process in both] == [0, 0]
    assert 200 <= calls(tmp_path) <= 240
    writer = FakeWriter()
    table, _ = run(asked(*(f"work {number}" for number in range(200))), writer, tmp_path / "cache")
    assert writer.calls == []
    assert table["raw"].to_list() == [f"Tell me about work {number}." for number in range(200)]
    assert Cache(tmp_path / "cache").entries()["answers"].to_list() == [200]
