"""What we rely on of asyncpg's inside, one fact a test: what fails here shows where `driver.py` has to follow."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import uvloop

from fastlane.resources.configuration import DatabaseOptions
from fastlane.sql.driver import connect
from fastlane.sql.failures import is_argument
from fastlane.sql.settings import ConnectionSettings
from tests.servers.postgres import Postgres


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, **options)
    try:
        yield connection
    finally:
        await connection.close()


def test_a_connection_has_a_protocol_that_binds_and_executes_a_prepared_statements_state(url: str) -> None:
    async def main() -> None:
        async with connected(url) as connection:
            statement = await connection.prepare("SELECT $1::int AS number")
            rows = await connection._protocol.bind_execute(statement._state, (5,), "", 0, False, None)
            assert [tuple(row) for row in rows] == [(5,)]
            answer = await connection._protocol.bind_execute(statement._state, (5,), "", 0, True, None)
            assert answer[1:] == (b"SELECT 1", True)
            assert list(inspect.signature(type(connection._protocol).bind_execute).parameters)[1:] == [
                "state", "args", "portal_name", "limit", "return_extra", "timeout",
            ]  # fmt: skip

    asyncio.run(main())


def test_a_named_portal_is_read_in_pieces_and_closed(url: str) -> None:
    async def main() -> None:
        async with connected(url) as connection:
            statement = await connection.prepare("SELECT generate_series(1, 3)")
            protocol, state = connection._protocol, statement._state
            await protocol.query("BEGIN", None)
            first, _, done = await protocol.bind_execute(state, (), "portal", 2, True, None)
            assert (len(first), done) == (2, False)
            second, _, done = await protocol.execute(state, "portal", 2, True, None)
            assert (len(second), done) == (1, True)
            await protocol.close_portal("portal", None)
            assert protocol.is_in_transaction()
            assert await protocol.query("COMMIT", None) == "COMMIT"

    asyncio.run(main())


def test_what_is_remembered_of_types_and_of_copied_tables_is_dropped_at_once(url: str) -> None:
    async def main() -> None:
        async with connected(url) as connection, connected(url) as other:
            await other.execute("CREATE TYPE pair AS (a int); CREATE TABLE pairs (number bigint, pair pair)")
            await connection.copy_records_to_table("pairs", records=[(1, (1,))])
            await other.execute("ALTER TYPE pair ADD ATTRIBUTE b int; ALTER TABLE pairs ALTER number TYPE float8")
            connection._drop_local_type_cache()
            connection._drop_local_statement_cache()
            await connection.copy_records_to_table("pairs", records=[(1, (1, 2))])
            assert await connection.fetch("SELECT number, (pair).b FROM pairs ORDER BY b") == [(1, 2), (1, None)]

    asyncio.run(main())


def test_a_failed_transaction_answers_rollback_to_commit(url: str) -> None:
    async def main() -> None:
        async with connected(url) as connection:
            await connection.execute("BEGIN")
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.execute("SELECT 1 / 0")
            assert await connection._protocol.query("COMMIT", None) == "ROLLBACK"

    asyncio.run(main())


def test_an_unnamed_statement_of_a_connection_without_a_cache_is_parsed_with_each_execution(url: str) -> None:
    async def main() -> None:
        async with connected(url, statement_cache_size=0) as connection:
            statement = await connection.prepare("SELECT 1", name="")
            other = await connection.prepare("SELECT 2", name="")  # takes the place of the first on the server
            for expected, each in ((1, statement), (2, other), (1, statement)):
                ((value,),) = await connection._protocol.bind_execute(each._state, (), "", 0, False, None)
                assert value == expected

    asyncio.run(main())


def test_a_record_is_unpacked_and_indexed_by_position(url: str) -> None:
    async def main() -> None:
        async with connected(url) as connection:
            row = await connection.fetchrow("SELECT 1 AS a, 2 AS a")
            first, second = row
            assert (first, second, row[0], row[1]) == (1, 2, 1, 2)

    asyncio.run(main())


def test_arguments_that_are_refused_before_they_are_sent_are_told_from_what_the_server_refuses(url: str) -> None:
    async def error(connection: asyncpg.Connection, query: str, *arguments: object) -> Exception:
        try:
            await connection.fetch(query, *arguments)
        except Exception as raised:
            assert await connection.fetchval("SELECT 1") == 1  # the connection is as it was
            return raised
        raise AssertionError

    async def main() -> None:
        async with connected(url) as connection:
            for query, arguments in (
                ("SELECT $1::int", ("x",)),
                ("SELECT $1::int", (1, 2)),
                ("SELECT $1::int", ()),
                ("SELECT $1::text[]", (5,)),
            ):
                assert is_argument(await error(connection, query, *arguments)), query
            for query in ("SELECT 1 / 0", "SELECT 'x'::int", "SELECT nothing"):
                assert not is_argument(await error(connection, query)), query

    asyncio.run(main())


def test_two_operations_at_a_time_are_refused_by_name(url: str) -> None:
    async def main() -> None:
        async with connected(url) as connection:
            first = asyncio.create_task(connection.fetchval("SELECT 1 FROM pg_sleep(0.05)"))
            await asyncio.sleep(0)  # it is under way, and can't be answered before the loop turns again
            with pytest.raises(asyncpg.InterfaceError, match="another operation"):
                await connection.fetchval("SELECT 2")
            await first

    asyncio.run(main())


def test_json_is_values_on_a_connection_of_our_own(url: str) -> None:
    async def main() -> None:
        given = DatabaseOptions(url=url)
        connection = await connect(ConnectionSettings(lambda: given))
        try:
            for kind in ("json", "jsonb"):
                assert await connection.fetchval(f"SELECT $1::{kind}", {"a": [1, None]}) == {"a": [1, None]}
        finally:
            await connection.close()

    asyncio.run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_server_that_vanishes_without_a_word_is_noticed_by_the_kernel(run: Callable[[Any], None]) -> None:
    async def main(server: Postgres) -> None:
        given = DatabaseOptions(url=server.tcp_url())
        connection = await connect(ConnectionSettings(lambda: given))
        try:
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        finally:
            await connection.close()

    with Postgres(tcp=True) as server:
        run(main(server))
