"""What asyncpg raises: what it means for the connection, and what a user gets to see."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import asyncpg

from fastlane.errors import Unavailable
from fastlane.sql.errors import ArgumentMismatch, ConcurrentUse, indented

if TYPE_CHECKING:
    from fastlane.sql.driver import Session

__all__ = ["FAULTS", "is_argument", "is_lost", "is_read_only", "is_schema_change", "is_stale", "translated"]

FAULTS = (OSError, EOFError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a call of asyncpg may raise: the last where the server's farewell came and the end of the connection did not."""

# What says that the connection, or the server, is gone. Nothing of it is the query's fault.
LOST = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    OSError,
    asyncio.IncompleteReadError,
)
# The server no longer has what was prepared: said before anything ran, so that it may be sent again.
STALE = (asyncpg.InvalidCachedStatementError, asyncpg.InvalidSQLStatementNameError)
# asyncpg shows an argument's first forty characters: the part of a long secret that is left is no secret to redaction.
CUT = re.compile(r"\A(invalid input for query argument [^:]+): .{40}\.\.\. (?=\()", re.DOTALL)
# As PostgreSQL does with the values of a row that a constraint refuses, after 64.
CUT_ROW = re.compile(r"\AFailing row contains \(.*\.\.\..*\)", re.DOTALL)


def is_lost(error: BaseException, session: Session | None = None) -> bool:
    """Whether an error says that the connection or the server is gone."""
    if isinstance(error, LOST):  # a TimeoutError is an OSError
        return True
    # "connection is closed" is an InterfaceError, as are many mistakes of the caller.
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError) and (
        session is not None and not session.is_open()
    )


def is_stale(error: BaseException) -> bool:
    """Whether a prepared statement has to be prepared anew. Nothing ran."""
    return isinstance(error, STALE)


def is_read_only(error: BaseException) -> bool:
    """Whether a command was refused because it writes: also what a server says that is no longer the primary."""
    return isinstance(error, asyncpg.ReadOnlySQLTransactionError)


def is_schema_change(error: BaseException) -> bool:
    """Whether asyncpg's knowledge of a composite type is out of date. The statement has run."""
    return isinstance(error, asyncpg.OutdatedSchemaCacheError)


def is_argument(error: BaseException) -> bool:
    """Whether the arguments could not be encoded. Nothing was sent."""
    # asyncpg has one class for what it refuses itself and for a server's 22000: the text tells.
    if type(error) is asyncpg.DataError:
        return str(error).startswith(("invalid input for query argument", "invalid input in executemany"))
    return isinstance(error, asyncpg.InterfaceError) and str(error).startswith(("query argument", "the server expects"))


def translated(error: BaseException, session: Session, query: str) -> BaseException:
    """What a user gets to see for an error of asyncpg."""
    if is_lost(error, session):
        return Unavailable("the database is not available")
    if isinstance(error, asyncpg.InterfaceError) and "another operation" in str(error):
        return ConcurrentUse()
    if is_argument(error):
        return _argument_mismatch(error, session, query)
    if isinstance(error, asyncpg.PostgresError):
        if error.detail is not None:
            error.detail = CUT_ROW.sub("Failing row contains (…)", error.detail)
        error.add_note(f"in the query:\n{indented(query)}")
    return error


def _argument_mismatch(error: BaseException, session: Session, query: str) -> ArgumentMismatch:
    if error.args and isinstance(error.args[0], str):
        error.args = (CUT.sub(r"\1: … ", error.args[0]), *error.args[1:])  # it is shown, too, as the cause
    statement = session.prepared(query)
    mend = "pass as many values as the query has $1, $2, …"
    if "argument" in str(error) and "$" in str(error):
        mend = "pass a value of the Python type, or cast in the query (`$1::text` takes a str)"
        if statement is not None:
            types = ", ".join(f"${i} {kind}" for i, kind in enumerate(statement.parameters(), 1))
            mend = f"{mend}; the query takes {types}"
    return ArgumentMismatch(str(error).partition("\n")[0], query=query, mend=mend)
