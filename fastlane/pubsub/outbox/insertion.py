"""The rows of an outbox: written in the user's transaction, read by whoever carries them to the broker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from fastlane.errors import ConfigurationError, Unavailable
from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.postgres.publisher import columns, unfit
from fastlane.pubsub.publishing.binding import TopicBinding
from fastlane.sql import Transaction

__all__ = ["CONFIRM", "READ", "outgoing_of", "write"]

WRITE: Final = "SELECT fastlane.publish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
READ: Final = """
SELECT seq, id, key, published_at, due_at, dedupe_id, attributes, body FROM fastlane.outbox
WHERE topic = $1 ORDER BY seq LIMIT $2
"""
CONFIRM: Final = "DELETE FROM fastlane.outbox WHERE seq = ANY ($1::bigint[])"

_attributes = msgspec.json.Decoder(dict[str, str])


async def write(binding: TopicBinding, tx: Any, messages: Sequence[Outgoing]) -> None:
    """Insert a row for each message.

    Args:
        tx: a `Transaction`, or an ``asyncpg.Connection`` that is in a transaction.

    Raises:
        TypeError: it is neither.
        RuntimeError: the connection is in no transaction.
        PublishRefused: a text that PostgreSQL can't keep.
        ConfigurationError: the tables are missing.
        Unavailable: the broker is another PostgreSQL database or this one, and was never reached.
    """
    _check(binding.bound.name, tx)
    for message in messages:
        why = unfit(message)
        if why is not None:
            raise PublishRefused(why)
    if not messages:
        return
    try:
        identity = await binding.provider.database_identity()
    except BrokerUnavailable as error:
        raise Unavailable("the broker is not available") from error
    bound = binding.bound
    try:
        await tx.execute(WRITE, identity, bound.name, bound.physical, *columns(messages), bound.exactly_once)
    except (asyncpg.UndefinedFunctionError, asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise ConfigurationError(
            f"topic {bound.name!r}: the database of this transaction has no outbox: {error}\n"
            "    mend: it has to be a declared Database; run `fastlane sql migrate APP`, which makes the tables"
        ) from error


def _check(topic: str, tx: Any) -> None:
    if isinstance(tx, Transaction):
        return
    if not isinstance(tx, asyncpg.Connection | PoolConnectionProxy):
        raise TypeError(
            f"topic {topic!r}: tx={tx!r} is no transaction\n"
            "    mend: pass the one of `async with db.transaction() as tx`, or an asyncpg.Connection that is in a "
            "transaction (of SQLAlchemy: `(await connection.get_raw_connection()).driver_connection`)"
        )
    if not tx.is_in_transaction():
        raise RuntimeError(
            f"topic {topic!r}: the connection tx is in no transaction, so that nothing would hold the message and what "
            "you write together\n    mend: `async with connection.transaction():` around both, or leave out tx="
        )


def outgoing_of(row: Sequence[Any]) -> tuple[int, Outgoing]:
    """A row of `READ`: its number, and its message. Of a delay what is left."""
    seq, identifier, key, published_at, due_at, dedupe_id, attributes, body = row
    delay = 0.0 if due_at is None else max(0.0, (due_at - datetime.now(UTC)).total_seconds())
    decoded = {} if attributes == "{}" else _attributes.decode(attributes)
    return seq, Outgoing(identifier, body, decoded, key, published_at, delay, dedupe_id)
