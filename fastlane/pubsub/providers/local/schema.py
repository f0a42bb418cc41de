"""The tables, and which file this version may open.

message    what was published, once, until its last delivery and dead letter are gone
             seq         grows with each commit, see `Store.next_seq`
delivery   a message for a subscription; gone when it is acknowledged
             visible_at  when it may be handed out next: 0 at once, the time of a retry or delay, or the lease's end;
                         NULL: an earlier message of its key is still there. So a claim reads as many rows as it takes
             token       of the lease, 0 without one; the claim's random number + seq, so no two claims share one
             attempt     handlers that started; apart from the token, as a release takes one back
dead       a dead letter: why, and which message
seen       dedupe ids of the last minutes, of topics whose delivery is exactly-once
clock      see clock.py
Times are milliseconds of the machine's clock; published_at and died_at are the date, in microseconds since 1970.
"""

from __future__ import annotations

import sqlite3

from fastlane.errors import ConfigurationError
from fastlane.pubsub.providers.local.faults import DamagedFile

__all__ = ["MINIMUM", "VERSION", "create_or_check", "refuse_old_sqlite"]

VERSION = 1
APPLICATION = 0x46534C4E
MINIMUM = (3, 37, 0)  # STRICT tables

_STATEMENTS = (
    "CREATE TABLE topic (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    """CREATE TABLE subscription (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, topic TEXT NOT NULL,
        paused INTEGER NOT NULL DEFAULT 0) STRICT""",
    "CREATE INDEX subscription_topic ON subscription (topic)",
    # The body comes last: columns behind it would be read through all its pages.
    """CREATE TABLE message (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, key TEXT, published_at INTEGER NOT NULL,
        stored_at INTEGER NOT NULL, due_at INTEGER NOT NULL, attributes TEXT, body BLOB NOT NULL) STRICT""",
    """CREATE TABLE delivery (
        seq INTEGER NOT NULL, subscription INTEGER NOT NULL, key TEXT, visible_at INTEGER,
        token INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0, receives INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (seq, subscription)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX delivery_ready ON delivery (subscription, visible_at, seq, token)",
    "CREATE INDEX delivery_key ON delivery (subscription, key, seq) WHERE key IS NOT NULL",
    """CREATE TABLE dead (
        position INTEGER PRIMARY KEY AUTOINCREMENT, subscription INTEGER NOT NULL, seq INTEGER NOT NULL,
        reason TEXT NOT NULL, error TEXT NOT NULL, source TEXT NOT NULL, attempt INTEGER NOT NULL,
        died_at INTEGER NOT NULL) STRICT""",
    "CREATE INDEX dead_subscription ON dead (subscription, position)",
    "CREATE INDEX dead_message ON dead (seq)",
    """CREATE TABLE seen (
        topic TEXT NOT NULL, dedupe_id TEXT NOT NULL, seq INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        PRIMARY KEY (topic, dedupe_id)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX seen_expires ON seen (expires_at)",
    """CREATE TABLE clock (
        identity TEXT PRIMARY KEY, ahead INTEGER NOT NULL, latest INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
)


def refuse_old_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise ConfigurationError where Python was built with a SQLite older than `MINIMUM`."""
    if version < MINIMUM:
        raise ConfigurationError(
            f"the local broker needs SQLite {'.'.join(map(str, MINIMUM))} or newer, and this Python has "
            f"{'.'.join(map(str, version))}\n"
            "    mend: use a Python that was built with a newer SQLite, or another provider"
        )


def create_or_check(connection: sqlite3.Connection, path: str) -> None:
    """Inside a transaction that writes: make the tables of an empty file, refuse one that is not ours.

    Raises:
        ConfigurationError: of a newer version of fastlane.
        DamagedFile: a database of something else.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and application == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        for statement in _STATEMENTS:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        return
    if application != APPLICATION:
        raise DamagedFile(
            f"{path}: a SQLite database, but not one of the local broker\n    mend: give the provider another `path`"
        )
    if version > VERSION:
        raise ConfigurationError(
            f"{path}: written by a newer fastlane (version {version} of the file; this one knows {VERSION})\n"
            "    mend: use that version of fastlane, or consume what the file holds with it and move the file away"
        )
