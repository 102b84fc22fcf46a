"""``weft``: the command line. Each file under ``commands/`` holds the commands of one purpose.

Exit codes: 0 done, 1 the run failed, 2 the request was wrong. An error is one or two lines that name the culprit and
the remedy; the traceback goes to a file under ``storage/logs``.
"""

import atexit
import os
import sys
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.commands import datasets, doctor, keep, look, run, tune, ui
from pipelines.instance import local_folder, storage_base
from weft.errors import WeftError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="LLM-enhanced sequential recommendation as one Dagster asset pipeline.",
)
for module in (run, tune, datasets, look, doctor, keep, ui):
    module.register(app)


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits with its code."""
    code = invoke(sys.argv[1:] if arguments is None else arguments)
    # DuckDB's binding complains at exit of what torch's modules keep alive: end as the steps of a run do, once all that
    # is registered for the exit (pins, logs) has been done.
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no public name
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def invoke(arguments: list[str]) -> int:
    """Runs one command; returns its exit code and never lets an exception out."""
    console = Console(stderr=True)
    try:
        typer.main.get_command(app)(arguments, prog_name="weft")
    except SystemExit as done:  # how typer ends, also after a wrong option (2) or Ctrl-C (1)
        return done.code if isinstance(done.code, int) else 0
    except WeftError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        _log(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) has seen enough
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: never a traceback on the terminal
        told = " ".join(str(error).split())[:300]
        console.print(f"[red]error:[/red] {type(error).__name__}: {escape(told)}", highlight=False, soft_wrap=True)
        console.print(f"  → the traceback is in {_log(error)}", highlight=False, soft_wrap=True)
        return 1
    return 0


def _log(error: BaseException) -> Path:
    """Writes the traceback to the storage's log folder, one file per day."""
    folder = local_folder(storage_base()) / "logs"
    file = folder / f"weft-{datetime.now(UTC):%Y-%m-%d}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC).isoformat()} weft {' '.join(sys.argv[1:])}\n")
            log.writelines(traceback.format_exception(error))
    except OSError:
        return Path(os.devnull)
    return file
