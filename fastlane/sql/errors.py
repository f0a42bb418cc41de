"""What goes wrong with a database, apart from what PostgreSQL itself says.

    FastlaneError
    ├── NoRow               a query that has to give a row gave none; also a LookupError
    ├── RowMismatch         a row is not what the type says; also a TypeError
    │   └── UnexpectedNull  NULL, and the field is not optional
    ├── ArgumentMismatch    an argument is not what the query takes; also a TypeError
    ├── ConcurrentUse       two tasks use one transaction at the same time; also a RuntimeError
    ├── TransactionEnded    a transaction was used after its end; also a RuntimeError
    ├── TransactionFailed   a transaction can't commit: an error in it was caught; also a RuntimeError
    ├── StrayTransaction    BEGIN or COMMIT as a query; also a RuntimeError
    └── ForkedPool          a pool was used in a child of the process that opened it; also a RuntimeError

What PostgreSQL itself says arrives as it is, in asyncpg's classes: ``except asyncpg.UniqueViolationError``. Each has a
note with the query. A database that can't be reached, or has no connection to spare, is `fastlane.Unavailable`, a 503.
"""

from __future__ import annotations

from fastlane.errors import FastlaneError

__all__ = [
    "ArgumentMismatch",
    "ConcurrentUse",
    "ForkedPool",
    "NoRow",
    "RowMismatch",
    "StrayTransaction",
    "TransactionEnded",
    "TransactionFailed",
    "UnexpectedNull",
    "indented",
]

LONGEST_QUERY = 2000


def indented(query: str) -> str:
    """A query as it stands in an error's text."""
    query = query.strip()
    if len(query) > LONGEST_QUERY:
        query = f"{query[:LONGEST_QUERY]}…"
    return "\n".join(f"    {line.strip()}" for line in query.splitlines())


class NoRow(FastlaneError, LookupError):
    """A query gave no row where one was asked for. `fetch_optional` answers None instead.

    Attributes:
        query: its text.
    """

    def __init__(self, query: str) -> None:
        self.query = query
        super().__init__(
            f"the query gave no row:\n{indented(query)}\n    mend: fetch_optional answers None where there is none"
        )


class RowMismatch(FastlaneError, TypeError):
    """The columns of a query are not what the type that was asked for says.

    Attributes:
        column: its name; of a field without a column, the field's.
        query: its text.
    """

    def __init__(self, problem: str, *, column: str, query: str, mend: str) -> None:
        self.column = column
        self.query = query
        super().__init__(f"{problem}, in the query:\n{indented(query)}\n    mend: {mend}")


class UnexpectedNull(RowMismatch):
    """A column is NULL, and its field is not optional."""


class ArgumentMismatch(FastlaneError, TypeError):
    """The arguments are not what the query takes: their number, or the type of one. Nothing was sent.

    Attributes:
        query: its text.
    """

    def __init__(self, problem: str, *, query: str, mend: str) -> None:
        self.query = query
        super().__init__(f"{problem}, in the query:\n{indented(query)}\n    mend: {mend}")


class ConcurrentUse(FastlaneError, RuntimeError):
    """Two tasks used one transaction, which is one connection, at the same time."""

    def __init__(self) -> None:
        super().__init__(
            "this transaction is running a query already: it is one connection, and a connection runs one query at a "
            "time.\n    mend: await one query after the other, or give each task a transaction of its own"
        )


class TransactionEnded(FastlaneError, RuntimeError):
    """A transaction was used before it began, or after it ended."""

    def __init__(self) -> None:
        super().__init__(
            "this transaction has ended, or has not begun.\n"
            "    mend: use it inside `async with db.transaction() as tx:`"
        )


class TransactionFailed(FastlaneError, RuntimeError):
    """A query of a transaction failed and its error was caught: PostgreSQL rolls such a transaction back."""

    def __init__(self) -> None:
        super().__init__(
            "the transaction was rolled back, not committed: a query in it failed, and its error was caught.\n"
            "    mend: put the query that may fail into `async with tx.transaction():`, and catch outside of that"
        )


class StrayTransaction(FastlaneError, RuntimeError):
    """A query began a transaction and did not end it: it has been rolled back. Or it ended the one that it ran in
    (COMMIT, ROLLBACK): that is over, as the query said."""

    def __init__(self, query: str, *, ended: bool = False) -> None:
        problem, mend = (
            ("a query ended the transaction that it ran in", "leave the block, or raise in it; that ends it")
            if ended
            else (
                "a query left a transaction open, and the next one may run on another connection; it was rolled back",
                "async with db.transaction() as tx:",
            )
        )
        super().__init__(f"{problem}:\n{indented(query)}\n    mend: {mend}")


class ForkedPool(FastlaneError, RuntimeError):
    """A pool was used in a child of the process that opened it.

    Both would write on one connection, and read each other's answers.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"database {name!r} was opened before this process was forked: its connections belong to the parent.\n"
            "    mend: open it in the child (`async with app.resources():`), or start children by "
            'multiprocessing.get_context("spawn")'
        )
