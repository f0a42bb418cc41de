"""``[sql]``: where each declared database is."""

from __future__ import annotations

from typing import Literal

import msgspec

from fastlane.resources.configuration.table import Count, CountAboveZero, DsnText, DurationText, HiddenText, Table

__all__ = ["DatabaseOptions", "PoolOptions", "SqlOptions"]


class PoolOptions(Table, frozen=True):
    """``pool`` of a database: connections of one worker.

    Attributes:
        min: kept open.
        max: at most; default: what the server's ``max_connections`` leaves each worker, at most 10.
        acquire_timeout: how long a query waits for a connection before it fails with ``Unavailable``.
        idle: a connection beyond ``min`` that nobody used for so long is closed.
        reserved: connections of the server that are left to others.
    """

    min: Count = 0
    max: CountAboveZero | None = None
    acquire_timeout: DurationText = 5.0
    idle: DurationText = 60.0
    reserved: Count = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is less than min ({self.min})")


class DatabaseOptions(Table, frozen=True):
    """``[sql.databases.NAME]``.

    Attributes:
        url: ``postgresql://user:password@host:port/name``.
        password: where it is not in the url; it may be rotated while the app runs.
        direct_url: around a pooler, for migrations and LISTEN.
        pooler: ``transaction`` says that ``url`` is pgbouncer (or its like) in transaction mode.
        tls: as libpq's ``sslmode``; default: ``verify-full``, for a socket or loopback ``prefer``.
        ca: certificate authorities (PEM); default: the system's.
        statement_timeout: a statement that runs for longer is ended by the server; default: what the server says. Not
            for migrations.
        pool: see `PoolOptions`.
    """

    url: DsnText
    password: HiddenText | None = None
    direct_url: DsnText | None = None
    pooler: Literal["transaction"] | None = None
    tls: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    ca: str | None = None
    statement_timeout: DurationText | None = None
    pool: PoolOptions = msgspec.field(default_factory=PoolOptions)


class SqlOptions(Table, frozen=True):
    """``[sql]``.

    Attributes:
        migrate: ``check`` refuses to boot while a migration is pending, ``boot`` applies it then.
        instances: machines that share the databases' connections.
        databases: a table each, see `DatabaseOptions`.
    """

    migrate: Literal["check", "boot"] = "check"
    instances: CountAboveZero = 1
    databases: dict[str, DatabaseOptions] = msgspec.field(default_factory=dict)
