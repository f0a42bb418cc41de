"""The seam for idempotent consumers: who remembers that a message has been handled."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

__all__ = ["Once"]


@runtime_checkable
class Once(Protocol):
    """What stands behind ``once=db``: a table of (subscription, message id) in the database that the handler writes to.

        async with once.claim("orders/bill", message.id) as first:
            if first:
                await handler(event)

    One `claim` is one transaction. Entering inserts the row, and answers whether it was not there; a row that another
    transaction is inserting is waited for. Leaving without an exception commits the row together with whatever the
    handler wrote to this database in that task; an exception, a cancellation too, rolls both back. So a message whose
    handler has committed is acknowledged without another call when it comes again, and a handler that failed runs
    again. Who implements it also removes rows that are older than the broker keeps messages.
    """

    def claim(self, source: str, message_id: str) -> AbstractAsyncContextManager[bool]:
        """Begin the transaction for the message ``message_id`` of the subscription ``source``."""
        ...
