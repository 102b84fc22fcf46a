"""Answers that were paid for, kept under the digest of all that could have changed them.

An answer is a line of a journal before anybody uses it: one append to a file of the writing process's own, which a
killed process leaves behind whole, but for a torn last line that its check sum gives away. Full journals, and those of
processes that ended, become Parquet shards, written beside and renamed. The name of a shard carries the SHA-256 of its
bytes; one that does not match is left out with a warning, and its answers are asked for again.

A folder on one machine: writers are told apart by the kernel's locks.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import polars as pl
from filelock import FileLock, Timeout

from weft.errors import LockedError, WeftError
from weft.language.engine import Answer, Identity, Message, Sampling

_LOG = logging.getLogger(__name__)
_FULL = 32 * 2**20
"""Bytes of a journal that becomes a shard while its writer goes on: what a lookup holds in memory at a time."""
_SYNC = 1.0
"""Seconds between two flushes to the disk: what a loss of power may cost. A killed process loses nothing."""

_ANSWER = {
    "text": pl.String, "finish": pl.String, "tokens_in": pl.Int64, "tokens_out": pl.Int64, "seconds": pl.Float64,
}  # fmt: skip
_COLUMNS = dict.fromkeys(("key", "model", "revision", "adapter"), pl.String) | _ANSWER


def question_digest(final: Sequence[int] | Sequence[Message]) -> str:
    """SHA-256, in hexadecimal, of what reaches the model (``Writer.final``): token ids or messages."""
    return _digest(list(final))


def answer_key(question: str, identity: Identity, sampling: Sampling, sample: int) -> str:
    """SHA-256, in hexadecimal, of all that an answer depends on.

    Args:
        question: Its ``question_digest``.
        identity: Who answers.
        sampling: How, with budget, stops and seed.
        sample: Which of several answers to the same question, from 0.
    """
    return _digest([question, asdict(identity), sampling.model_dump(mode="json"), sample])


def _digest(value: list) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Cache:
    """The answers in one folder, shared by all data sets and processes.

    Args:
        folder: Made when the first answer comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = folder / "cache.lock"  # held by who takes shards away, and by who begins to write

    def find(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The answers that are there, by key."""
        if not keys:
            return {}
        wanted = pl.Series("key", keys, dtype=pl.String).unique()
        found: dict[str, Answer] = {}
        for table in self._tables(wanted):
            found |= {key: Answer(*answer) for key, *answer in table.select("key", *_ANSWER).iter_rows()}
        return found

    @contextmanager
    def writing(self) -> Iterator[Journal]:
        """Opens the cache for new answers, and makes shards of what ended writers left; at the end of its own too."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(6)}.jsonl"
        lock = FileLock(path.with_suffix(".lock"))
        with FileLock(self._guard):  # nobody trims now, and whoever trims later sees that we write
            lock.acquire()
        try:
            self._adopt()
            journal = Journal(path, self._shard)
            try:
                yield journal
            finally:
                journal.roll()
        finally:
            _free(lock)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in (*self._journals(), *self._shards()) if path.exists())

    def entries(self) -> pl.DataFrame:
        """Per ``model``, ``revision`` and ``adapter``: ``answers``, ``tokens_in``, ``tokens_out`` and ``seconds``."""
        tables = [table.drop("text") for table in self._tables(None)]
        rows = pl.concat([pl.DataFrame(schema=_COLUMNS).drop("text"), *tables]).unique("key")
        who = ["model", "revision", "adapter"]
        sums = pl.col("tokens_in", "tokens_out", "seconds").sum()
        return rows.group_by(who).agg(pl.len().cast(pl.Int64).alias("answers"), sums).sort(who)

    def trim(self, max_bytes: int) -> int:
        """Removes the oldest shards until at most ``max_bytes`` are left; returns the bytes removed.

        Raises:
            LockedError: If another process is writing; nothing is removed then.
        """
        if not self._folder.is_dir():
            return 0
        with FileLock(self._guard):
            self._adopt()
            for path in self._folder.glob("*-*.lock"):
                if (lock := _taken(path)) is None:
                    writer = path.name.partition("-")[0]
                    raise LockedError(f"process {writer} writes the generation cache", "wait for that run, try again")
                _free(lock)
            for leftover in self._folder.glob(".*.tmp"):
                leftover.unlink()
            before = left = self.size()
            for shard in self._shards():
                if left <= max_bytes:
                    break
                left -= shard.stat().st_size
                shard.unlink()
            return before - left

    def _journals(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))

    def _shards(self) -> list[Path]:
        """Oldest first: a name begins with the time."""
        return sorted(self._folder.glob("[0-9]*.parquet"))

    def _tables(self, keys: pl.Series | None) -> Iterator[pl.DataFrame]:
        """The rows with these keys (None: all), a file at a time. A key may come twice."""
        # Journals before shards: what becomes a shard meanwhile is read twice, never missed.
        for path in self._journals():
            yield _matching(_lines(path), keys)
        for path in self._shards():
            yield _shard_rows(path, keys)

    def _adopt(self) -> None:
        """Makes shards of journals whose writers ended before they could."""
        for path in self._journals():
            if (lock := _taken(path.with_suffix(".lock"))) is not None:
                self._shard(path)
                _free(lock)

    def _shard(self, journal: Path) -> None:
        """Turns a journal that nobody writes into a shard; the journal goes when the shard stands."""
        rows = _lines(journal)
        if not rows.is_empty():
            buffer = io.BytesIO()
            rows.unique("key", keep="last", maintain_order=True).write_parquet(buffer, compression="zstd")
            name = f"{time.time_ns():020d}-{hashlib.sha256(buffer.getbuffer()).hexdigest()}.parquet"
            staged = self._folder / f".{name}.{os.getpid()}.tmp"
            with staged.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            staged.replace(self._folder / name)
        journal.unlink(missing_ok=True)


class Journal:
    """Takes the answers of one writer, one line each: a check sum and the row as JSON."""

    def __init__(self, path: Path, full: Callable[[Path], None]) -> None:
        self._path, self._full = path, full
        self._file: int | None = None
        self._bytes, self._synced = 0, 0.0

    def add(self, key: str, identity: Identity, answer: Answer) -> None:
        """Keeps an answer. When this returns, the end of this process cannot take it away.

        Raises:
            WeftError: If the disk takes no more.
        """
        row = {"key": key, **asdict(identity), **{name: getattr(answer, name) for name in _ANSWER}}
        text = json.dumps(row)
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise WeftError(f"the generation cache cannot be written: {error}", "free some space, run again") from error
        if written < len(line):
            raise WeftError("the generation cache cannot be written: the disk is full", "free some space, run again")
        self._bytes += written
        if time.monotonic() - self._synced >= _SYNC:
            os.fsync(self._file)
            self._synced = time.monotonic()
        if self._bytes >= _FULL:
            self.roll()

    def roll(self) -> None:
        """Makes a shard of what is there; the next answer begins anew. On a full disk the journal stays, and counts."""
        if self._file is None:
            return
        try:
            os.fsync(self._file)
            self._full(self._path)
        except OSError as error:
            _LOG.warning("answers stay in %s, no shard could be written: %s", self._path, error)
        finally:
            os.close(self._file)
            self._file, self._bytes = None, 0


def _lines(journal: Path) -> pl.DataFrame:
    """The whole lines of a journal; empty when it has gone."""
    try:
        data = journal.read_bytes()
    except FileNotFoundError:
        data = b""
    whole = [line[9:] for line in data.split(b"\n") if line[:9] == f"{zlib.crc32(line[9:]):08x} ".encode()]
    return pl.DataFrame([json.loads(line) for line in whole], schema=_COLUMNS)


def _shard_rows(path: Path, keys: pl.Series | None) -> pl.DataFrame:
    """Rows of a shard; none, with a warning, when its bytes are not those that were written."""
    nothing = pl.DataFrame(schema=_COLUMNS)
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # trimmed meanwhile
        return nothing
    except OSError as error:
        _LOG.warning("%s cannot be read (%s): its answers are asked for again", path, error)
        return nothing
    if path.stem.partition("-")[2] != hashlib.sha256(data).hexdigest():
        _LOG.warning("%s is damaged: its answers are asked for again", path)
        return nothing
    if keys is not None and not pl.read_parquet(io.BytesIO(data), columns=["key"])["key"].is_in(keys.implode()).any():
        return nothing
    return _matching(pl.read_parquet(io.BytesIO(data)), keys)


def _matching(rows: pl.DataFrame, keys: pl.Series | None) -> pl.DataFrame:
    return rows if keys is None else rows.filter(pl.col("key").is_in(keys.implode()))


def _taken(path: Path) -> FileLock | None:
    """The lock, held; None when somebody else holds it."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _free(lock: FileLock) -> None:
    """Lets a lock go that nobody will ask for again."""
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
