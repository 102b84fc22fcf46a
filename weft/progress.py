"""Progress of long work: a tiny protocol, so that algorithms do not know who is watching.

A terminal shows a bar, Dagster's log gets one line per interval; both carry the rate and the time left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """One running piece of work."""

    def advance(self, done: float = 1, note: str = "") -> None:
        """Adds ``done`` units; ``note`` (a loss, a metric) replaces the note shown beside the rate."""


class Progress(Protocol):
    """Whoever watches long work."""

    def step(self, label: str, total: float | None = None, unit: str = "rows") -> AbstractContextManager[Step]:
        """Opens one piece of work of ``total`` units (None when unknown) as a context manager."""


class _Silent:
    def advance(self, done: float = 1, note: str = "") -> None:
        pass


class NoProgress:
    """Nobody watches (tests, library use)."""

    @contextmanager
    def step(self, label: str, total: float | None = None, unit: str = "rows") -> Iterator[Step]:
        """Opens work that tells nobody."""
        del label, total, unit
        yield _Silent()


class LogProgress:
    """Writes one line at most every ``interval`` seconds, and one at the end of anything that took longer than it.

    Args:
        log: Receives each line: ``context.log.info`` under Dagster, ``print`` elsewhere.
        interval: Seconds between lines.
    """

    def __init__(self, log: Callable[[str], object], interval: float = 15.0) -> None:
        self._log = log
        self._interval = interval

    @contextmanager
    def step(self, label: str, total: float | None = None, unit: str = "rows") -> Iterator[Step]:
        """Opens work that is logged while it runs."""
        step = _LoggedStep(label, total, unit, self._log, self._interval)
        try:
            yield step
        finally:
            step.finish()


class _LoggedStep:
    def __init__(
        self, label: str, total: float | None, unit: str, log: Callable[[str], object], interval: float
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._log, self._interval = log, interval
        self._start = self._last = time.monotonic()
        self._done = 0.0
        self._note = ""

    def advance(self, done: float = 1, note: str = "") -> None:
        self._done += done
        self._note = note or self._note
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            self._log(self._line(now))

    def finish(self) -> None:
        now = time.monotonic()
        if now - self._start >= self._interval:
            self._log(self._line(now))

    def _line(self, now: float) -> str:
        elapsed = max(now - self._start, 1e-9)
        rate = self._done / elapsed
        parts = [f"{self._label}: {self._done:,.0f}"]
        if self._total:
            parts[0] += f" of {self._total:,.0f}"
        parts[0] += f" {self._unit}"
        parts.append(f"{rate:,.3g} {self._unit}/s")
        if self._total and rate > 0:
            left = max(self._total - self._done, 0) / rate
            parts.append(f"{duration(left)} left" if left > 0 else f"took {duration(elapsed)}")
        if self._note:
            parts.append(self._note)
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as people read them: ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
