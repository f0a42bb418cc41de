"""The file, open: one connection, used by the one thread that opened it."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.local.clock import MachineClock, boot_identity
from fastlane.pubsub.providers.local.faults import is_busy, translated
from fastlane.pubsub.providers.local.filesystem import refuse_network_filesystem
from fastlane.pubsub.providers.local.schema import create_or_check, refuse_old_sqlite

__all__ = ["Store", "StoreOptions", "make_directory"]

R = TypeVar("R")

BUSY_PATIENCE = 5.0
LOOK_EVERY = 1.0
_NAMES = tuple("123456789")
SEQ_EPOCH = 1_750_000_000_000
ROOM = 64 * 1024 * 1024
"""Bytes below ``max_bytes`` up to which the file's size is looked at only once in `ROOM_HOLDS` seconds."""
ROOM_HOLDS = 0.1

_making = threading.Lock()


def _renew_in_child() -> None:
    global _making
    _making = threading.Lock()  # a thread that the fork did not copy may have held it


os.register_at_fork(after_in_child=_renew_in_child)


class StoreOptions(Struct, frozen=True, kw_only=True):
    """What every process says of the same file.

    Attributes:
        path: absolute.
        full: a confirmed publish survives a loss of power.
        max_bytes: of the file.
        retention: seconds.
    """

    path: str
    full: bool
    max_bytes: int
    retention: float


class Store:
    """Opens the file, or makes it.

    SQLite's own waiting for a lock is not used: it sleeps up to 100 ms, and wakes to find that others were faster. Here
    the wait is a fraction of a millisecond at a time, for `BUSY_PATIENCE` seconds.

    Attributes:
        options: as given.
        clock: of leases and delays.
        touched: numbers of the subscriptions for which this transaction has made something ready.

    Raises:
        ConfigurationError: on a network, SQLite too old, a file that is newer, foreign or damaged.
        BrokerUnavailable: it can't be opened now.
    """

    def __init__(self, options: StoreOptions) -> None:
        self.options = options
        self.touched: set[int] = set()
        refuse_old_sqlite()
        self._path = path = options.path
        try:
            self._make(Path(path))
            self._connection = sqlite3.connect(path, timeout=0, isolation_level=None, cached_statements=256)
        except OSError as error:
            raise BrokerUnavailable(f"{path}: can't be made: {error}") from error
        except sqlite3.Error as error:
            raise translated(error, path) from error
        try:
            self._prepare()
            self._file = os.stat(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise translated(error, path) from error
        except BaseException:
            self._connection.close()
            raise
        self._looked = self._roomy_until = time.monotonic()

    @staticmethod
    def _make(path: Path) -> None:
        make_directory(path)
        refuse_network_filesystem(path.parent)
        if path.is_dir():
            raise ConfigurationError(
                f"{path} is a directory: the local broker keeps its messages in a file\n"
                "    mend: set `path` of the provider to a file in it"
            )
        # Messages are nobody else's business. Only a new file may be opened here, and no other thread of this process
        # may have it open before it is closed again: that drops the locks that SQLite holds in this process.
        with _making, suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def _prepare(self) -> None:
        self.patiently(lambda: self._connection.execute("PRAGMA journal_mode = WAL").fetchone())
        # Checkpoints are the leader's alone (housekeeping.py says why).
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self._connection.execute("PRAGMA fullfsync = 1")  # macOS: fsync alone leaves it in the drive's cache
        self._connection.execute("PRAGMA temp_store = MEMORY")
        self._connection.execute("PRAGMA cache_size = -16384")
        self._full: bool | None = None
        # PERF: one cursor for all, and statements that are looked up by their text: 0.3 µs less for each.
        self._run = self._connection.cursor().execute
        self._page_size: int = self.one("PRAGMA page_size")
        with self.transaction(durable=True):
            create_or_check(self._connection, self._path)
            self.clock = MachineClock.load(self._connection, boot_identity())

    def now(self) -> int:
        """Milliseconds of the machine's clock."""
        return self.clock.now()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run it; answers how many rows it changed. Parameters are ``?``, or ``:1`` ``:2`` …, which may be repeated."""
        return self._run(sql, _bound(sql, parameters)).rowcount

    def one(self, sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        """The first column of the first row; None where there is none."""
        # PERF: every row that sqlite3 fetches gives the interpreter lock away and waits for it, up to 5 ms beside a
        # handler that computes. So what is long is gathered in SQL, as one JSON text: one row.
        row = self._run(sql, _bound(sql, parameters)).fetchone()
        return None if row is None else row[0]

    def row(self, sql: str, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        """The first row, of a query that always has one. Parameters are ``?``."""
        row: tuple[Any, ...] = self._run(sql, parameters).fetchone()
        return row

    def next_seq(self) -> int:
        """For the next message, inside a transaction."""
        return self.seq_after(self.one("SELECT max(seq) FROM message"), self.now())

    @staticmethod
    def seq_after(newest: int | None, now: int) -> int:
        """A number above ``newest``, the greatest there is, and made of the time, so that numbers of messages that are
        gone don't come again."""
        # PERF: AUTOINCREMENT keeps its count in a table, which is one page more in every commit.
        return max((newest or 0) + 1, (now - SEQ_EPOCH) << 10)

    def is_full(self) -> bool:
        """Whether what the file holds is more than ``max_bytes``.

        Far from that, it is not looked at each time: others can't write that much meanwhile.
        """
        # PERF: 1.6 of the 17 µs that a transaction with one message takes.
        limit = self.options.max_bytes
        if time.monotonic() < self._roomy_until:
            return False
        pages: int = self.one("PRAGMA page_count")
        if pages * self._page_size + ROOM <= limit:
            self._roomy_until = time.monotonic() + ROOM_HOLDS
            return False
        return pages * self._page_size > limit and (pages - self.one("PRAGMA freelist_count")) * self._page_size > limit

    def checkpoint(self) -> tuple[int, int, int]:
        """Whether it was busy, how many pages the WAL has, and how many of them are copied into the file now."""
        row: tuple[int, int, int] = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return row

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """One that may write: all or nothing. ``durable`` waits for the disk where the options say so.

        Raises:
            sqlite3.Error: as it is; `translated` makes it the provider's.
        """
        self.begin(durable=durable)
        try:
            yield
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def begin(self, *, durable: bool) -> None:
        """The begin of a `transaction`, for who calls `commit` and, after whatever was raised, `rollback` himself."""
        # PERF: the context manager takes 1 µs more.
        full = durable and self.options.full
        if full is not self._full:
            self._run(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full
        self.touched = set()
        try:
            self._run("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            self.patiently(lambda: self._run("BEGIN IMMEDIATE"))

    def commit(self) -> None:
        self._run("COMMIT")

    def rollback(self) -> None:
        """Where a transaction is open."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def patiently(self, call: Callable[[], R]) -> R:
        """Call it again while others keep the file locked, for `BUSY_PATIENCE` seconds."""
        began = time.monotonic()
        while True:
            try:
                return call()
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if not is_busy(error) or waited > BUSY_PATIENCE:
                    raise
            # A transaction takes some tenths of a millisecond: whoever sleeps longer finds that others were faster,
            # and starves (*measured* with five processes on two cores: p99 of a publish 10 ms; with 1 ms, 20 to 35).
            time.sleep(random.uniform(0.000_01, 0.000_1 if waited < 0.2 else 0.001))

    def look(self) -> None:
        """Raise BrokerUnavailable where the file was deleted or replaced: what is written now is seen by nobody."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        try:
            stands = os.path.samestat(os.stat(self._path), self._file)
        except OSError:
            stands = False
        if not stands:
            raise BrokerUnavailable(
                f"{self._path}: was deleted or replaced while it was open\n    mend: restart the processes that use it"
            )
        self._looked = now

    def close(self) -> None:
        self._connection.close()


def make_directory(file: Path) -> None:
    """The one that ``file`` is in, mode 0700, unless it is there. Whoever comes first makes it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _bound(sql: str, parameters: Sequence[Any]) -> Any:
    """Numbered ones by name: SQLite's own way to number (``?1``) is for sequences a warning in Python 3.12."""
    return dict(zip(_NAMES, parameters, strict=False)) if ":1" in sql else parameters
