"""What can go wrong with the file, in the words of a provider."""

from __future__ import annotations

import sqlite3

from fastlane.errors import ConfigurationError, ResourceExhausted
from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused

__all__ = ["DamagedFile", "StorageFull", "is_busy", "translated"]

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class StorageFull(ResourceExhausted, PublishRefused):
    """The file has reached ``max_bytes``: nobody consumes what is published. Consuming goes on, and makes room."""


class DamagedFile(ConfigurationError):
    """The file is no SQLite database, or damaged: trying again is no use. At boot it stops the boot."""


def _code(error: sqlite3.Error) -> int:
    """The primary code: the low byte of SQLite's extended one."""
    return (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Somebody else is writing, or has just opened the file: the same call may succeed a moment later."""
    return _code(error) in _BUSY


def translated(error: sqlite3.Error, path: str) -> Exception:
    """The provider's exception for SQLite's. What is no fault of the file's comes back as it is."""
    code = _code(error)
    if code in _BUSY:
        return BrokerUnavailable(f"{path}: other processes kept it locked for too long ({error})")
    if code == sqlite3.SQLITE_FULL:
        return BrokerUnavailable(
            f"{path}: the disk is full\n    mend: free some space; nothing that was confirmed is lost"
        )
    if code in _DAMAGED:
        return DamagedFile(
            f"{path}: no file of the local broker, or a damaged one ({error})\n"
            "    mend: move it away, with its -wal and -shm beside it: a new one is made at the next start"
        )
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        return BrokerUnavailable(f"{path}: {error}")
    return error
