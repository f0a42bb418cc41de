"""What the server says, in the words of a provider."""

from __future__ import annotations

import asyncpg

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable

__all__ = ["is_collision", "translated"]


def is_collision(error: BaseException) -> bool:
    """Whether it ran into another transaction, and nothing has happened: it may be done again at once."""
    return isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError)


def translated(error: BaseException, name: str) -> Exception:
    """The exception to raise instead.

    Args:
        name: of the database.
    """
    text = f"database {name!r}: {type(error).__name__}: {error}"
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedFunctionError | asyncpg.InvalidSchemaNameError):
        return ConfigurationError(f"{text}\n    mend: run `fastlane sql migrate APP`, which makes the broker's tables")
    if isinstance(error, asyncpg.InsufficientPrivilegeError | asyncpg.InvalidAuthorizationSpecificationError):
        return BrokerForbidden(text)
    # A lost connection, a full disk, a cancelled statement, a mistake of ours: nobody knows, or nothing has happened.
    return BrokerUnavailable(text)
