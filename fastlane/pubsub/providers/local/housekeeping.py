"""What must happen once per machine, in a thread of the process that leads: checkpoints, retention, shrinking.

A checkpoint copies what was committed from the WAL into the file, so that the WAL can begin anew. No other connection
makes any: SQLite before 3.51.3 may damage the file when a checkpoint starts on a WAL that is copied already, and a
writer starts it anew meanwhile (its "WAL-reset bug"). With one process that checkpoints, and only after somebody has
committed since the last time, or while nobody can commit, that can't happen, whatever the version.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time

import msgspec
from msgspec import Struct

from fastlane.pubsub.providers.local.claims import drop_unwanted, json_list, promote
from fastlane.pubsub.providers.local.faults import translated
from fastlane.pubsub.providers.local.store import Store, StoreOptions, make_directory
from fastlane.resources.leader import Leader

__all__ = ["Housekeeper", "checkpoint", "purge_old", "shrink"]

logger = logging.getLogger("fastlane.pubsub")

CALM = 1.0
BUSY = 0.05
FOLLOWING = 2.0
PURGE_EVERY = 60.0
LONG_WAL = 1000
"""Pages of the WAL, 4 MiB, beyond which writers wait a moment so that it can begin anew.

As short as SQLite's own default: *measured* 160 µs for a commit that reuses the WAL, 260 to 400 for one that makes its
file longer, as then the file system writes its journal, too.
"""
CHUNK = 500
LARGE_FILE = 64 * 1024 * 1024
SMALL_CONTENT = 8 * 1024 * 1024


class _Old(Struct, array_like=True):
    seq: int
    stored_at: int
    due_at: int


class _Removed(Struct, array_like=True):
    subscription: int
    key: str | None


_OLDEST = """SELECT json_group_array(json_array(seq, stored_at, due_at))
    FROM (SELECT seq, stored_at, due_at FROM message WHERE seq > :1 ORDER BY seq LIMIT :2)"""
_UNLEASED = "seq IN (SELECT value FROM json_each(:1)) AND (token = 0 OR visible_at <= :2)"
_REMOVED = f"SELECT json_group_array(json_array(subscription, key)) FROM delivery WHERE {_UNLEASED}"

_old = msgspec.json.Decoder(list[_Old])
_removed = msgspec.json.Decoder(list[_Removed])


class Housekeeper:
    """A thread that tries to lead, and keeps house while it does.

    Args:
        options: of the file.
    """

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._stopped = False
        self._wake = threading.Event()
        self._leader = Leader(f"{options.path}.leader")
        self._store: Store | None = None
        self._lock: Store | None = None
        self._has_begun = False
        self._version: int | None = None
        self._purge_at = 0.0
        self._checked = time.monotonic()
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="fastlane-local-housekeeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end. It may be in the middle of a checkpoint: `join` waits for that."""
        self._stopped = True
        self._wake.set()

    def nudge(self) -> None:
        """Much was written in this process. From any thread."""
        self._wake.set()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._wake.clear()
                wait = self._round()
                self._wake.wait(wait)
        finally:
            self._close()
            self._leader.release()

    def _round(self) -> float:
        """Seconds until the next."""
        try:
            if not self._has_begun:
                make_directory(self._leader.path)  # it may be faster than who opens the file
                self._has_begun = True
            if not self._leader.try_hold():
                self._close()
                return FOLLOWING
            if self._store is None or self._lock is None:
                self._store = Store(self._options)
                self._lock = Store(self._options)
                self._version = None
            self._store.look()
            if time.monotonic() >= self._purge_at:
                self._purge_at = time.monotonic() + PURGE_EVERY
                purge_old(self._store)
                shrink(self._store)
            began = time.monotonic()
            self._version, pages = checkpoint(self._store, self._lock, self._version)
            since, self._checked = began - self._checked, began
            self._said = ""
            return max(BUSY, min(CALM, since * LONG_WAL / pages)) if pages else CALM
        except Exception as error:
            fault = translated(error, self._options.path) if isinstance(error, sqlite3.Error) else error
            if str(fault) != self._said:
                self._said = str(fault)
                logger.warning("housekeeping of the local broker failed, and is tried again: %s", fault)
            self._close()
            return FOLLOWING

    def _close(self) -> None:
        for store in (self._store, self._lock):
            if store is not None:
                store.close()
        self._store = self._lock = None


def checkpoint(store: Store, lock: Store, version: int | None) -> tuple[int, int]:
    """Copy what was committed since ``version`` (None: since ever) into the file.

    Args:
        store, lock: two connections to the file, of the leader.
        version: what the last call answered.

    Returns:
        What the next call wants, and how many pages the WAL had.
    """
    if version is not None and lock.one("PRAGMA data_version") == version:
        return version, 0
    pages = 0
    if version is not None:
        _, pages, _ = store.checkpoint()
    # Read after the checkpoint: a commit that it has copied must not be taken for a new one the next time.
    after: int = lock.one("PRAGMA data_version")
    if version is None or pages > LONG_WAL:
        # Little is left to copy by now, so that writers wait for a few milliseconds.
        with lock.transaction(durable=False):
            store.checkpoint()
            after = lock.one("PRAGMA data_version")
    return after, pages


def purge_old(store: Store) -> int:
    """Give up messages that are older than the retention, delayed ones counted from when they were due; forget old
    dedupe ids. Dead letters stay. Answers how many deliveries were given up."""
    now = store.now()
    before = now - int(store.options.retention * 1000)
    with store.transaction(durable=False):
        store.execute("UPDATE clock SET latest = max(latest, ?)", (now,))
        # What its message is still waiting for is remembered, so that a late retry is not delivered beside it.
        store.execute(
            "DELETE FROM seen WHERE expires_at < ? AND NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = seen.seq)",
            (now,),
        )
    total = last = 0
    while True:
        rows = _old.decode(store.one(_OLDEST, (last, CHUNK)))
        old = [row.seq for row in rows if row.stored_at < before and row.due_at < before]
        if old:
            total += _give_up(store, old)
        if len(rows) < CHUNK or rows[-1].stored_at >= before:
            break
        last = rows[-1].seq
    return total


def _give_up(store: Store, seqs: list[int]) -> int:
    listed = json_list(seqs)
    with store.transaction(durable=False):
        now = store.now()
        removed = _removed.decode(store.one(_REMOVED, (listed, now)))
        store.execute(f"DELETE FROM delivery WHERE {_UNLEASED}", (listed, now))
        names: list[str] = []
        for subscription in sorted({row.subscription for row in removed}):
            own = [row for row in removed if row.subscription == subscription]
            promote(store, subscription, {row.key for row in own if row.key is not None})
            name = store.one("SELECT name FROM subscription WHERE id = ?", (subscription,))
            names.append(f"{len(own)} of {name}")
        drop_unwanted(store, seqs)
    if removed:
        logger.warning(
            "%s: messages given up after %g s, as nobody acknowledged them: %s",
            store.options.path,
            store.options.retention,
            ", ".join(names),
        )
    return len(removed)


def shrink(store: Store) -> bool:
    """Give the disk back what a long backlog took, once it is gone: while the content is small, that is quick."""
    size = store.one("PRAGMA page_size")
    pages = store.one("PRAGMA page_count")
    free = store.one("PRAGMA freelist_count")
    if pages * size < LARGE_FILE or (pages - free) * size > SMALL_CONTENT:
        return False
    store.execute("VACUUM")
    return True
