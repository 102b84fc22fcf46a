"""``weft`` as a person uses it: in a process of its own, on a storage of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from pipelines.cli import invoke
from pipelines.instance import open_instance
from resources.artifacts import ArtifactStore
from tests.pipelines.running import make
from weft.cells import Cell

REPOSITORY = Path(__file__).parents[2]
WEFT = [sys.executable, "-c", "from pipelines.cli import main; main()"]
SMALL = ["--set", "sasrec.epochs=2", "--set", "sasrec.width=8", "--set", "sasrec.length=10"]


def weft(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*WEFT, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"}
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"}
    return subprocess.Popen([*WEFT, *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def test_two_runs_at_once_lose_nothing_and_end_in_leaderboard_report_and_history(tiny_storage: Path) -> None:
    runs = [start("run", "-d", "tiny", "--systems", "sasrec,oracle", *SMALL),
            start("run", "-d", "tiny", "--systems", "popularity", "--seeds", "0,1")]  # fmt: skip
    told = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    for text in told:
        assert "NDCG@10" in text
        assert "seconds" in text
        assert "Traceback" not in text
        assert "nanobind" not in text
    assert "✓ behaviour.sasrec" in told[0]
    page = re.search(r"report: (.*\.html)", told[0])
    assert page is not None
    assert Path(page[1]).read_text().startswith("<!doctype html>".lower()) or Path(page[1]).stat().st_size > 1000

    measured = ArtifactStore(tiny_storage).read("reports.metrics", Cell("tiny"))
    assert set(measured.select("system", "seed").rows()) == {
        ("sasrec", 0), ("oracle", 0), ("popularity", 0), ("popularity", 1),
    }  # fmt: skip
    with open_instance(str(tiny_storage)) as instance:
        statuses = [run.status for run in instance.get_runs()]
        assert statuses == [dg.DagsterRunStatus.SUCCESS] * 2
        assert instance.get_latest_materialization_event(dg.AssetKey(["reports", "leaderboard"])) is not None

    # The same rows through the product, through plain DuckDB, and while somebody has the file open.
    sql = "select system, metric, k, value from reports.metrics order by all"
    with duckdb.connect(str(tiny_storage / "catalogue.duckdb"), read_only=True) as held:
        plain = held.sql(sql).fetchall()
        answer = weft("query", sql, "--format", "json")
    assert answer.returncode == 0, answer.stderr
    assert [tuple(row.values()) for row in json.loads(answer.stdout)] == plain
    assert len(plain) == len(measured)
    assert weft("doctor").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--systems", "nonsense"], "there is no system 'nonsense'"),
        (["run", "--systems", ","], "names no system"),
        (["run", "--dataset", "nonsense"], "there is no data set 'nonsense'"),
        (["run", "--protocols", "nonsense"], "there is no protocol 'nonsense'"),
        (["run", "--variants", "nonsense"], "there is no variant 'nonsense'"),
        (["run", "--systems", "sasrec", "--variants", "without_image"], "there is no variant 'without_image'"),
        (["run", "--systems", "cit_rec", "--protocols", "leave_one_out"], "cit_rec needs a pointwise protocol"),
        (["run", "--profile", "nonsense"], "there is no profile 'nonsense'"),
        (["run", "--seeds", "-1"], "--seeds '-1'"),
        (["run", "--set", "width"], "no path=value"),
        (["run", "--set", "nonsense.width=3"], "there is no 'nonsense'"),
        (["run", "--set", "sasrec.nonsense=3"], "sasrec has no 'nonsense'"),
        (["run", "--set", "sasrec.width=1"], "sasrec.width"),
        (["run", "--set", "sasrec.width=wide"], "width"),
        (["run", "--set", "behaviour.user_states.share=1"], "user_states.share"),
        (["run", "--set", "alignment.aligned_items.temperature=0"], "aligned_items.temperature"),
        (["run", "--set", "cit_rec.prompts.history=-1"], "setting cit_rec.prompts.history"),
        (["run", "--set", "cit_rec.prompts.prompt=nonsense"], "there is no prompt 'cit_rec/nonsense'"),
        (["run", "--set", "cit_rec.adapter.rank=0"], "setting cit_rec.adapter.rank"),
        (["run", "--set", "cit_rec.adapter.nonsense=1"], "cit_rec.adapter has no 'nonsense'"),
        (["run", "--set", "accelerator.device=tpu"], "tpu"),
        (["run", "--set", "accelerator.threads=-1"], "accelerator.threads"),
        (["run", "--dataset", "mine", "--source", "nowhere.csv"], "does not exist"),
        (["query", "select nonsense"], "nonsense"),
        (["report", "--dataset", "nonsense"], "there is no data set 'nonsense'"),
        (["export", "nonsense", "--to", "out"], "no artifact"),
        (["rollback", "../evil.evil"], "no artifact"),
    ],
)
def test_a_wrong_request_is_refused_before_any_work(
    arguments: list[str], told: str, tiny_storage: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments) == 2
    error = capfd.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) <= 2
    assert not list(tiny_storage.glob("*/*/dataset=*"))  # nothing was made
    assert not (tiny_storage / "datasets" / "mine.yaml").exists()
    assert "Traceback" in next((tiny_storage / "logs").glob("*.log")).read_text()


def test_a_failed_run_says_what_failed_and_exits_with_1(tiny_storage: Path) -> None:
    done = weft("run", "-d", "tiny", "--systems", "popularity", "--set", "io_manager.base=/dev/null/nowhere")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "error:" in done.stdout


def blocks(readme: str) -> dict[str, str]:
    """The README's files and commands that are marked for this test, by name."""
    return {
        name.strip(): body
        for name, body in re.findall(r"<!-- (?:file|run): (.*?) -->\n```\w+\n(.*?)```", readme, re.DOTALL)
    }


def test_the_readme_takes_own_data_to_recommendations_in_three_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEFT_STORAGE", raising=False)
    told = blocks((REPOSITORY / "README.md").read_text())
    header, *lines = told["purchases.csv"].splitlines()
    people = ["anna", *(f"user{k}" for k in range(12))]
    days = range(6)
    rows = [
        f"{who},p{(k + 2 * day) % 9},2024-05-{day + 1:02d} 10:00:00,{1 + day % 5}"
        for k, who in enumerate(people)
        for day in days
    ]
    (tmp_path / "purchases.csv").write_text("\n".join([header, *lines, *rows]) + "\n")
    (tmp_path / "products.csv").write_text(
        "id,name,tags\n" + "".join(f"p{k},Product number {k},a|b\n" for k in range(9))
    )
    (tmp_path / "mapping.yaml").write_text(told["mapping.yaml"])
    commands = told["own data"].strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        done = weft(*command.split()[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Product number" in done.stdout  # titles, of what anna has not bought
    assert "popularity" in done.stdout or "itemknn" in done.stdout


def test_the_readmes_questions_have_answers(tiny_storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(tiny_storage, "popularity").success
    told = blocks((REPOSITORY / "README.md").read_text())["questions"].replace("--dataset storefront", "--dataset tiny")
    for command in told.strip().splitlines():
        arguments = [part.strip('"') for part in re.findall(r'".*?"|\S+', command)][1:]
        assert invoke(arguments) == 0, command
    assert (tiny_storage / "reports" / "tiny.html").exists()


def test_an_artifact_is_exported_rolled_back_and_found_damaged(
    tiny_storage: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert make(tiny_storage, "popularity").success
    first = ArtifactStore(tiny_storage).digest("reports.leaderboard", Cell("tiny"))
    assert make(tiny_storage, "itemknn", ingest=False).success
    assert invoke(["rollback", "reports.leaderboard", "-d", "tiny"]) == 0
    assert ArtifactStore(tiny_storage).digest("reports.leaderboard", Cell("tiny")) == first
    assert invoke(["export", "baselines.popularity", "-d", "tiny", "--to", str(tmp_path / "out")]) == 0
    assert [file.suffix for file in (tmp_path / "out").iterdir()] == [".safetensors"]
    assert invoke(["recommend", "-d", "tiny", "--user", "u0001"]) == 0
    assert invoke(["recommend", "-d", "tiny", "--user", "somebody new"]) == 0
    assert "is not known" in capfd.readouterr().out

    leaf = ArtifactStore(tiny_storage).path("interactions.items", Cell("tiny"))
    damaged = bytearray(Path(leaf).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shutil.copy(leaf, tmp_path)
    Path(leaf).write_bytes(damaged)
    assert invoke(["doctor"]) == 1
    assert "interactions/items/dataset=tiny/data.parquet" in capfd.readouterr().out
