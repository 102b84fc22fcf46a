"""What a person sees of a run while it runs: its event log, followed in the terminal.

A terminal gets a spinner with the newest progress line of each running step and one line per finished step; a pipe
gets plain lines. Not here: what runs (``runs.py``).
"""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import dagster as dg
from rich.console import Console
from rich.status import Status

from weft.progress import duration

_EVERY = 0.3
"""Seconds between two looks at the event log."""


@dataclass
class Seen:
    """What the log has said so far: seconds per finished step, errors by step, warnings of checks."""

    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class Follower:
    """Follows the one run that carries ``tags``, from a thread of its own, as a context manager."""

    def __init__(self, instance: dg.DagsterInstance, tags: Mapping[str, str], console: Console) -> None:
        self.seen = Seen()
        self._instance, self._tags, self._console = instance, dict(tags), console
        self._status: Status | None = None
        self._cursor: str | None = None
        self._run_id: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._stack.enter_context(self._console.status("starting"))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=10)
        self._stack.close()

    def _follow(self) -> None:
        while not self._over.is_set():
            self._look()
            self._over.wait(_EVERY)
        self._look()

    def _look(self) -> None:
        if self._run_id is None:
            runs = self._instance.get_runs(filters=dg.RunsFilter(tags=self._tags), limit=1)
            if not runs:
                return
            self._run_id = runs[0].run_id
        more = True
        while more:
            found = self._instance.get_records_for_run(self._run_id, cursor=self._cursor, limit=500)
            for record in found.records:
                self._take(record.event_log_entry)
            self._cursor, more = found.cursor, found.has_more
        if self._status:
            now = time.time()
            running = (
                f"{step} {duration(now - start)}" + (f" · {self.seen.notes[step]}" if step in self.seen.notes else "")
                for step, start in self.seen.started.items()
            )
            self._status.update(" | ".join(running) or "between steps")

    def _take(self, entry: dg.EventLogEntry) -> None:
        step = step_name(entry.step_key) if entry.step_key else ""
        event = entry.dagster_event
        if event is None:
            if int(entry.level) >= logging.INFO:
                self._note(step, entry.user_message)
        elif event.is_step_start:
            self.seen.started[step] = entry.timestamp
            self._plain(f"▸ {step}")
        elif event.is_step_success:
            self._finish(step, entry.timestamp, "[green]✓[/green]")
        elif event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            self.seen.failed[step] = "" if error is None else error.message.strip()
            self._finish(step, entry.timestamp, "[red]✗[/red]")
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                name = ".".join(check.asset_key.path)
                told = check.description or ""
                self._console.print(f"[yellow]! {name}: {check.check_name} does not hold. {told}[/yellow]")

    def _note(self, step: str, message: str) -> None:
        if step:
            self.seen.notes[step] = message
            self._plain(f"  {step}: {message}")

    def _finish(self, step: str, at: float, mark: str) -> None:
        took = at - self.seen.started.pop(step, at)
        self.seen.seconds[step] = took
        self._console.print(f"{mark} {step} [dim]{took:.1f} s[/dim]", highlight=False)

    def _plain(self, line: str) -> None:
        """Lines that only a log needs: a terminal shows them in the spinner."""
        if not self._status:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def step_name(key: str) -> str:
    """``behaviour.sasrec`` for Dagster's ``behaviour__sasrec``."""
    return key.replace("__", ".")
