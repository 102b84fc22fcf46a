"""``weft ui``: the Dagster web UI and its daemon on one storage."""

import os
import sys
from typing import Annotated

import typer

from pipelines.commands.options import Storage, use_storage
from pipelines.instance import open_instance


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(ui)


def ui(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on this machine.")] = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; there is no log-in, so mind who can reach it.")
    ] = "127.0.0.1",
    storage: Storage = None,
) -> None:
    """Starts the web UI and the daemon (schedules, sensors, queued runs) until it is stopped."""
    base = use_storage(storage)
    with open_instance(base):
        pass  # its home is written, data sets are partitions, dead runs are failed
    command = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions", "-h", host, "-p", str(port)]
    # The process becomes Dagster's, so that a signal sent to it reaches the one that stops the web server and daemon.
    os.execv(sys.executable, command)  # noqa: S606 - no shell wanted
