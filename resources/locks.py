"""One lock per leaf: a second writer waits, then fails naming the holder.

The lock is the kernel's (``flock`` through filelock), so it ends with the process that holds it and is never
stale. It holds on one machine: writers of an object store on two machines are not kept apart.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from weft.errors import LockedError


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: process, machine, run and since when (UTC)."""

    pid: int
    host: str
    run_id: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, run {self.run_id or 'unknown'}, since {self.since}"


@contextmanager
def locked(path: Path, what: str, *, run_id: str = "", timeout: float = 300.0) -> Iterator[None]:
    """Holds the lock file ``path``; ``what`` names what it guards.

    The holder's name stands in a file beside the lock, because who waits must be able to read it.

    Raises:
        LockedError: If another writer still holds it after ``timeout`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    card = path.with_name(f"{path.name}.holder")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout, poll_interval=0.02)
    except Timeout as error:
        raise LockedError(
            f"{what} is being written by {_read(card) or 'another process'}; waited {timeout:g} s",
            "wait for that run, or end it, and run again",
        ) from error
    try:
        me = Holder(os.getpid(), socket.gethostname(), run_id, datetime.now(UTC).isoformat(timespec="seconds"))
        with suppress(OSError):  # a full disk must not keep anybody from freeing it
            card.write_text(json.dumps(asdict(me)), encoding="utf-8")
        yield
    finally:
        card.unlink(missing_ok=True)
        lock.release()


def _read(card: Path) -> Holder | None:
    try:
        return Holder(**json.loads(card.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # let go, or not yet written
        return None
