"""The query methods, the same ones on a database and in a transaction."""

from __future__ import annotations

import abc
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from typing import Any, TypeVar, overload

from fastlane.sql.arguments import adapted, adapted_row
from fastlane.sql.copying import copied
from fastlane.sql.errors import NoRow
from fastlane.sql.source import Source
from fastlane.sql.template import Query, rendered

__all__ = ["Queries"]

T = TypeVar("T")

PREFETCH = 100

_portals = itertools.count(1)


class Queries(abc.ABC):
    """SQL in, typed values out.

    ``into`` is what a row becomes: a Struct, dataclass, TypedDict, NamedTuple or attrs class, whose fields are matched
    to the columns by name; ``dict``, with every column; ``tuple[int, str]``, the columns in order; or a scalar (int,
    str, UUID, datetime, Decimal, an Enum, a Literal …), the first column. Columns that nothing asks for are ignored.

    A query is a text with ``$1``, ``$2`` … and as many arguments, or a template string (Python 3.14): ``t"… = {id}"``.

    Raises, all of them:
        RowMismatch: columns and type don't fit; names column, field and query. Found before the first row.
        UnexpectedNull: NULL in a field that is not optional.
        ArgumentMismatch: an argument is not of the type that the query takes.
        Unavailable: no connection in time, or the connection was lost; what ran then may or may not have happened.
        asyncpg.PostgresError: what the server says, such as `asyncpg.UniqueViolationError`.
        NotBound: the app does not run.
    """

    @property
    @abc.abstractmethod
    def _source(self) -> Source: ...

    @overload
    async def fetch_one(
        self, into: type[dict[Any, Any]], query: Query, *arguments: object, validate: bool = ...
    ) -> dict[str, Any]: ...
    @overload
    async def fetch_one(self, into: type[T], query: Query, *arguments: object, validate: bool = ...) -> T: ...
    @overload
    async def fetch_one(self, into: object, query: Query, *arguments: object, validate: bool = ...) -> Any: ...
    async def fetch_one(self, into: Any, query: Query, *arguments: object, validate: bool = False) -> Any:
        """The first row.

        Args:
            into: what it becomes.
            query, arguments: SQL.
            validate: check the constraints of the type (``Meta``) as well. Rows are trusted without.

        Raises:
            NoRow: there is none.
        """
        if query.__class__ is not str:
            query, arguments = rendered(query, arguments)
        plan, rows = await self._source.rows((into, query), arguments, 1)
        if not rows:
            raise NoRow(str(query))
        return plan.value(rows[0], validate=validate)

    @overload
    async def fetch_optional(
        self, into: type[dict[Any, Any]], query: Query, *arguments: object, validate: bool = ...
    ) -> dict[str, Any] | None: ...
    @overload
    async def fetch_optional(
        self, into: type[T], query: Query, *arguments: object, validate: bool = ...
    ) -> T | None: ...
    @overload
    async def fetch_optional(self, into: object, query: Query, *arguments: object, validate: bool = ...) -> Any: ...
    async def fetch_optional(self, into: Any, query: Query, *arguments: object, validate: bool = False) -> Any:
        """The first row, or None where there is none. Of a scalar also None where it is NULL."""
        if query.__class__ is not str:
            query, arguments = rendered(query, arguments)
        plan, rows = await self._source.rows((into, query), arguments, 1)
        if not rows or (plan.scalar and rows[0][0] is None):
            return None
        return plan.value(rows[0], validate=validate)

    @overload
    async def fetch_all(
        self, into: type[dict[Any, Any]], query: Query, *arguments: object, validate: bool = ...
    ) -> list[dict[str, Any]]: ...
    @overload
    async def fetch_all(self, into: type[T], query: Query, *arguments: object, validate: bool = ...) -> list[T]: ...
    @overload
    async def fetch_all(self, into: object, query: Query, *arguments: object, validate: bool = ...) -> list[Any]: ...
    async def fetch_all(self, into: Any, query: Query, *arguments: object, validate: bool = False) -> list[Any]:
        """Every row. For more of them than fit into memory there is `stream`."""
        if query.__class__ is not str:
            query, arguments = rendered(query, arguments)
        plan, rows = await self._source.rows((into, query), arguments, 0)
        return plan.values(rows, validate=validate)

    @overload
    async def fetch_value(self, into: type[T], query: Query, *arguments: object, validate: bool = ...) -> T: ...
    @overload
    async def fetch_value(self, into: object, query: Query, *arguments: object, validate: bool = ...) -> Any: ...
    async def fetch_value(self, into: Any, query: Query, *arguments: object, validate: bool = False) -> Any:
        """The first column of the first row: a count, or a json column as a structure.

        Raises:
            NoRow: there is no row.
            UnexpectedNull: it is NULL. `fetch_optional` gives None for both.
        """
        if query.__class__ is not str:
            query, arguments = rendered(query, arguments)
        plan, rows = await self._source.rows((into, query, True), arguments, 1)
        if not rows:
            raise NoRow(str(query))
        return plan.value(rows[0], validate=validate)

    @overload
    def stream(
        self, into: type[dict[Any, Any]], query: Query, *arguments: object, prefetch: int = ..., validate: bool = ...
    ) -> AsyncGenerator[dict[str, Any], None]: ...
    @overload
    def stream(
        self, into: type[T], query: Query, *arguments: object, prefetch: int = ..., validate: bool = ...
    ) -> AsyncGenerator[T, None]: ...
    @overload
    def stream(
        self, into: object, query: Query, *arguments: object, prefetch: int = ..., validate: bool = ...
    ) -> AsyncGenerator[Any, None]: ...
    async def stream(
        self, into: Any, query: Query, *arguments: object, prefetch: int = PREFETCH, validate: bool = False
    ) -> AsyncGenerator[Any, None]:
        """Every row, one after the other, from a cursor: ``async for post in db.stream(Post, "SELECT …"):``.

        On a database it holds a connection and a transaction until it ends. Where a loop is left early that is when the
        generator is collected; `contextlib.aclosing` does it at once.

        Args:
            prefetch: rows that are asked for at a time.
        """
        if prefetch < 1:
            raise ValueError(f"prefetch: at least 1, not {prefetch}")
        text, given = rendered(query, arguments)
        values = adapted(given) or given
        async with self._source.session(text, transaction=True) as session:
            session.forget_one(text)
            state, plan = await session.planned((into, text))
            portal = f"fastlane_{next(_portals)}"
            rows, _, done = await session.run(state, values, portal, prefetch, True, None)
            while True:
                for value in plan.values(rows, validate=validate):
                    yield value
                if done:
                    break
                rows, _, done = await session.protocol.execute(state, portal, prefetch, True, None)
            await session.protocol.close_portal(portal, None)

    async def execute(self, query: Query, *arguments: object) -> int:
        """Run a command. Without arguments it may be several, separated by semicolons, which are one transaction.

        Returns:
            How many rows it inserted, updated, deleted, copied or selected; 0 for what has no rows (CREATE TABLE). Of
            several commands, that of the last.
        """
        if query.__class__ is not str:
            query, arguments = rendered(query, arguments)
        return _count(await self._source.status(str(query), arguments))

    async def execute_many(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a command for each row of arguments: all of them, or none."""
        async with self._source.session(query) as session:
            session.forget_one(query)
            statement = await session.prepare(query)
            await session.protocol.bind_execute_many(statement.state, map(adapted_row, rows), "", None, False)

    async def copy(
        self, table: str, rows: Iterable[object] | AsyncIterable[object], *, columns: Sequence[str] | None = None
    ) -> int:
        """Put many rows into a table, by COPY: the fastest way. All of them, or none.

        Args:
            table: its name, or ``schema.name``.
            rows: sequences of values, in the order of ``columns``; or structures (Struct, dataclass, dict …).
            columns: the columns; default: the fields of the first structure, or all columns of the table.

        Returns:
            The number of rows.
        """
        async with self._source.session(f"COPY {table}") as session:
            session.forget_copied()
            return _count(await copied(session.connection, table, rows, columns))


def _count(status: str) -> int:
    """The number at the end of ``INSERT 0 5``, ``UPDATE 3``, ``COPY 7``."""
    number = status.rpartition(" ")[2]
    return int(number) if number.isdecimal() else 0
