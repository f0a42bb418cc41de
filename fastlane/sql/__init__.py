"""PostgreSQL: declared databases, typed rows, transactions. The libraries are imported once one is configured."""

from __future__ import annotations

from fastlane.sql.database import Database
from fastlane.sql.errors import (
    ArgumentMismatch,
    ConcurrentUse,
    ForkedPool,
    NoRow,
    RowMismatch,
    StrayTransaction,
    TransactionEnded,
    TransactionFailed,
    UnexpectedNull,
)
from fastlane.sql.listening import Listener, Notification
from fastlane.sql.transactions import Isolation, Transaction

__all__ = [
    "ArgumentMismatch",
    "ConcurrentUse",
    "Database",
    "ForkedPool",
    "Isolation",
    "Listener",
    "NoRow",
    "Notification",
    "RowMismatch",
    "StrayTransaction",
    "Transaction",
    "TransactionEnded",
    "TransactionFailed",
    "UnexpectedNull",
]
