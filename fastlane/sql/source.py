"""Where queries run: on a pool, each on whatever connection is free, or all on the one of a transaction."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlane.sql.driver import Session
    from fastlane.sql.rows import Plan

__all__ = ["Source"]


class Source(abc.ABC):
    """What the query methods need of a pool or a transaction.

    Attributes:
        name: of the database.
    """

    name: str

    @abc.abstractmethod
    async def rows(self, key: tuple[Any, ...], arguments: Sequence[Any], limit: int) -> tuple[Plan, list[Any]]:
        """Run a query.

        Args:
            key: (type, query), or (type, query, True) where its first column alone is read into the type.
            limit: of rows; 0: none.

        Returns:
            How its rows are read, and its rows.
        """

    @abc.abstractmethod
    async def status(self, query: str, arguments: Sequence[Any]) -> str:
        """Run a command; what the server says of it, such as ``UPDATE 3``. Without arguments it may be several."""

    @abc.abstractmethod
    def session(self, query: str, *, transaction: bool = False) -> AbstractAsyncContextManager[Session]:
        """A connection for several steps of one method; ``query`` is named in errors.

        Args:
            transaction: the steps need one. They take the one that runs, if one does.
        """
