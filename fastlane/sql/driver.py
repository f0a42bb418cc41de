"""asyncpg, and everything that we rely on it for: the one module that knows it.

A `Session` is one connection with its prepared statements. It calls the connection's protocol itself, which is
asyncpg's inside: ``tests/sql/test_driver.py`` says in words what has to hold, and fails when a new asyncpg changes it.

PERF: a row by `Connection.fetchrow` costs 21 µs, by `PreparedStatement.fetchrow` 25, by the protocol's `bind_execute`
8 (CPU of the client, asyncpg 0.32 on 3.11): the difference is asyncpg's own cache, its guards and its coroutines.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import asyncpg
import msgspec

from fastlane.sql.columns import Column
from fastlane.sql.errors import RowMismatch
from fastlane.sql.rows import Plan, plan_of
from fastlane.sql.settings import ConnectionSettings

__all__ = [
    "CONNECT_TIMEOUT",
    "Connection",
    "Plans",
    "Session",
    "Statement",
    "connect",
    "open_session",
]

logger = logging.getLogger("fastlane.sql")

Connection: TypeAlias = Any
"""An `asyncpg.Connection`."""

CONNECT_TIMEOUT = 5.0
STATEMENTS = 256
"""Prepared statements of a connection that are kept."""
LONGEST_KEPT = 16 * 1024
"""A longer text (a thousand rows in VALUES) will hardly come again."""
PLANS = 1024
ANSWER_SECONDS = 5.0
"""Beyond its time limit a statement has no answer since nobody is there, such as behind a proxy that still accepts."""
RESET = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; DISCARD TEMP"
"""What asyncpg's own reset leaves: RESET ALL keeps the role, and with it the rights of whoever had the connection."""


class Driven(Protocol):
    """What is used of an asyncpg connection's protocol."""

    async def bind_execute(
        self, state: Any, arguments: Sequence[Any], portal: str, limit: int, extra: bool, timeout: float | None, /
    ) -> Any: ...
    async def execute(self, state: Any, portal: str, limit: int, extra: bool, timeout: float | None, /) -> Any: ...
    async def bind_execute_many(
        self, state: Any, arguments: Any, portal: str, timeout: float | None, rows: bool, /
    ) -> Any: ...
    async def query(self, query: str, timeout: float | None, /) -> str: ...
    async def close_portal(self, portal: str, timeout: float | None, /) -> Any: ...
    def is_in_transaction(self) -> bool: ...


class Plans:
    """The plans of a pool: made once for a type, a query and its columns, whatever connection prepares it."""

    def __init__(self) -> None:
        self._plans: dict[tuple[Any, ...], Plan] = {}

    def plan(self, into: Any, value: bool, query: str, columns: tuple[Column, ...]) -> Plan:
        key = (into, value, query, columns)
        plan = self._plans.get(key)
        if plan is None:
            plan = plan_of(into, query, columns, value=value)
            if len(self._plans) >= PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = plan
        return plan


class Statement:
    """A statement that one connection has prepared.

    Attributes:
        state: asyncpg's.
        columns: of its rows; none where it gives none.
    """

    __slots__ = ("_prepared", "columns", "keys", "state")

    def __init__(self, prepared: Any) -> None:
        self._prepared = prepared  # when nothing holds it any more, asyncpg closes it on the server
        self.state = prepared._state
        self.columns = tuple(
            Column(attribute.name, attribute.type.name, attribute.type.kind) for attribute in prepared.get_attributes()
        )
        self.keys: list[tuple[Any, ...]] = []

    def parameters(self) -> tuple[str, ...]:
        """The names of the types of its arguments."""
        return tuple(parameter.name for parameter in self._prepared.get_parameters())


class Session:
    """One connection and what it has prepared. Not for two tasks at a time.

    Attributes:
        connection: asyncpg's.
        usable: it may be handed out again. False once it is lost, or its pool closes.
        raw: a user has it by `acquire`: json is decoded as far as asyncpg's callers expect, to Python values.
        tick: when the pool got it back, in ticks of its clock.
    """

    __slots__ = ("_keeps", "_plans", "_prepared", "connection", "fast", "protocol", "raw", "run", "tick", "usable")

    def __init__(self, connection: Connection, plans: Plans, *, keeps: bool) -> None:
        self.connection = connection
        self.protocol: Driven = connection._protocol
        self.run = self.protocol.bind_execute
        self.usable = True
        self.raw = False
        self.tick = 0
        self._plans = plans
        self._keeps = keeps
        # By (type, query): what a hot query looks up, and nothing more.
        self.fast: dict[tuple[Any, ...], tuple[Any, Plan]] = {}
        self._prepared: dict[str, Statement] = {}

    async def prepare(self, query: str) -> Statement:
        """The statement of a query, prepared now or earlier.

        Behind a pooler in transaction mode nothing can be kept: the next transaction may get another connection of the
        server. There the statement has no name, is described now and parsed again together with its arguments.
        """
        statement = self._prepared.get(query)
        if statement is not None:
            return statement
        if not self._keeps:
            return Statement(await self.connection.prepare(query, name=""))
        statement = Statement(await self.connection.prepare(query))
        if len(query) <= LONGEST_KEPT:
            if len(self._prepared) >= STATEMENTS:
                # PERF: the oldest, not the least recently used one: to note each use costs more than to prepare a hot
                # statement again once in 256 new ones.
                self.forget_one(next(iter(self._prepared)))
            self._prepared[query] = statement
        return statement

    def prepared(self, query: str) -> Statement | None:
        """The statement of a query, where it is at hand."""
        return self._prepared.get(query)

    async def planned(self, key: tuple[Any, ...]) -> tuple[Any, Plan]:
        """Statement and plan of (type, query) or (type, query, True), where the first column alone is asked for."""
        into, query = key[0], key[1]
        statement = await self.prepare(query)
        try:
            plan = self._plans.plan(into, len(key) > 2, query, statement.columns)
        except RowMismatch:
            self.forget_one(query)  # what does not run is never told that the columns are others by now
            raise
        if query in self._prepared:
            self.fast[key] = statement.state, plan
            statement.keys.append(key)
        return statement.state, plan

    async def command(self, query: str) -> str:
        """Run commands without arguments, by the simple protocol: several may stand in one text."""
        try:
            return await self.protocol.query(query, None)
        except AttributeError:
            return ""  # asyncpg, of a text without a command: there is no status to decode

    async def status(self, query: str, arguments: Sequence[Any]) -> str:
        """Run a command with arguments; what the server says of it, such as ``UPDATE 3``."""
        statement = await self.prepare(query)
        _, status, _ = await self.run(statement.state, arguments, "", 0, True, None)
        return "" if status is None else str(status.decode())

    def forget(self) -> None:
        """Prepare everything anew: the schema has changed."""
        self.fast.clear()
        self._prepared.clear()
        if self.is_open():
            self.connection._drop_local_type_cache()
            self.forget_copied()

    def forget_copied(self) -> None:
        """Look at a table's columns anew before rows are copied into it: asyncpg remembers the types that they had, and
        what it sends may also be a value of another one, such as the bytes of a bigint for a float."""
        self.connection._drop_local_statement_cache()

    def forget_one(self, query: str) -> None:
        """Prepare one query anew: for several steps that can't begin again where it turns out to be out of date."""
        statement = self._prepared.pop(query, None)
        if statement is not None:
            for key in statement.keys:
                self.fast.pop(key, None)

    def is_open(self) -> bool:
        return not self.connection.is_closed()

    def in_transaction(self) -> bool:
        return self.is_open() and self.protocol.is_in_transaction()

    def terminate(self) -> None:
        """Close the socket, now."""
        self.usable = False
        self.connection.terminate()

    async def reset(self) -> bool:
        """Undo what a user may have done to it (settings, role, temporary tables, locks, listeners). Whether that
        worked. Bounded."""
        try:
            await self.connection.reset(timeout=CONNECT_TIMEOUT)
            await self.connection.execute(RESET, timeout=CONNECT_TIMEOUT)
            return True
        except (Exception, asyncio.CancelledError):
            self.terminate()
            return False

    async def mended(self) -> bool:
        """Whether it is as good as new: a query that was cancelled has ended, no transaction is open. Bounded.

        A round trip also shows that it lives.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                # Waits for the server's answer to the CancelRequest.
                await self.connection.execute("ROLLBACK" if self.in_transaction() else "SELECT 1")
                return not self.in_transaction()
        except (Exception, asyncio.CancelledError):
            self.terminate()
            return False


async def connect(
    settings: ConnectionSettings, *, direct: bool = False, limited: bool = False, timeout: float = CONNECT_TIMEOUT
) -> Connection:
    """A connection of asyncpg on the running loop, which the caller closes.

    json and jsonb take every value that msgspec encodes (`msgspec.Raw` as it is), and give Python values.

    Args:
        direct: around a pooler.
        limited: ``statement_timeout`` of the configuration holds; a server that does not even say so is given up.
        timeout: seconds.

    Raises:
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: it can't be reached, or refuses.
        TimeoutError: it does not answer.
    """
    arguments = settings.arguments(direct=direct)
    limit = settings.current().statement_timeout
    if limited and limit is not None:
        milliseconds = max(1, round(float(limit) * 1000))
        arguments["server_settings"] = {**arguments.get("server_settings", {}), "statement_timeout": str(milliseconds)}
        arguments["command_timeout"] = float(limit) + ANSWER_SECONDS
    connection = await asyncpg.connect(**arguments, timeout=timeout)
    try:
        await _teach_json(connection, None)
        _keep_alive(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def open_session(settings: ConnectionSettings, plans: Plans) -> Session:
    """A connection for a pool. Raises as `connect`."""
    connection = await connect(settings, limited=True)
    session = Session(connection, plans, keeps=not settings.pooler)
    await _teach_json(connection, session)
    return session


async def _teach_json(connection: Connection, session: Session | None) -> None:
    """asyncpg takes and gives json as text. A session leaves the bytes to the plan, which knows the type."""
    encode, decode = msgspec.json.encode, msgspec.json.decode

    def encode_jsonb(value: object) -> bytes:
        return b"\x01" + encode(value)  # the version of the format

    def decode_json(data: bytes) -> Any:
        return decode(data) if session is None or session.raw else data

    def decode_jsonb(data: bytes) -> Any:
        return decode(data[1:]) if session is None or session.raw else data[1:]

    codecs = (("json", encode, decode_json), ("jsonb", encode_jsonb, decode_jsonb))
    for name, encoder, decoder in codecs:
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="binary")


def _keep_alive(connection: Connection) -> None:
    """So that a server that vanished without a word (a lost route, a failover) is noticed within half a minute."""
    transport = getattr(connection, "_transport", None)
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
