"""Publishing, in SQL: what everybody publishes at the same moment goes in together."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic, BrokerUnavailable
from fastlane.pubsub.providers.local.database import Operation
from fastlane.pubsub.providers.local.faults import StorageFull
from fastlane.pubsub.providers.local.store import Store

__all__ = ["DEDUPE_WINDOW", "Publication", "later", "microseconds", "moment", "publish"]

DEDUPE_WINDOW = 300_000
"""Milliseconds, as SQS has them; longer while the message itself is still there."""

FAR = 10**15
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ROWS = 64

# PERF: one statement tells both: 1.1 µs less than two.
_LOOK = "SELECT (SELECT max(seq) FROM message), (SELECT group_concat(id) FROM subscription WHERE topic = ?)"
_INSERT = "INSERT INTO message (seq, id, key, published_at, stored_at, due_at, attributes, body) VALUES "
_FAN_OUT = """INSERT INTO delivery (seq, subscription, key, visible_at)
    SELECT m.seq, s.id, m.key, iif(m.key IS NULL, m.due_at, NULL) FROM message m CROSS JOIN subscription s
    WHERE m.seq BETWEEN ? AND ? AND s.topic = ?"""
# Of what has just come in, what is the first of its key.
_HEADS = """UPDATE delivery SET visible_at = (SELECT m.due_at FROM message m WHERE m.seq = delivery.seq)
    WHERE seq BETWEEN :1 AND :2 AND key IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM delivery p
        WHERE p.subscription = delivery.subscription AND p.key = delivery.key AND p.seq < delivery.seq)"""
_SEEN = """SELECT json_group_object(dedupe_id, seq) FROM seen
    WHERE topic = :1 AND dedupe_id IN (SELECT value FROM json_each(:2))"""
_REMEMBER = """INSERT INTO seen (topic, dedupe_id, seq, expires_at)
    SELECT :1, key, value, :2 FROM json_each(:3)"""

_known = msgspec.json.Decoder(dict[str, int])


class Publication(Struct, frozen=True, eq=False):
    """One call of `Publisher.publish`."""

    topic: BoundTopic
    messages: Sequence[Outgoing]


def moment(published_at: int) -> datetime:
    """Aware, UTC, of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=published_at)


def microseconds(published_at: datetime) -> int:
    """Since 1970."""
    return (published_at - EPOCH) // MICROSECOND


def later(now: int, seconds: float) -> int:
    """``seconds`` after ``now``, however many."""
    return now + int(min(seconds * 1000, FAR))


def _publish(store: Store, publications: Sequence[Publication]) -> list[list[str | Exception]]:
    full = _full(store)
    by_topic: dict[str, list[Publication]] = {}
    for publication in publications:
        by_topic.setdefault(publication.topic.physical, []).append(publication)
    answers = {topic: iter(_take(store, topic, group, full)) for topic, group in by_topic.items()}
    return [list(itertools.islice(answers[p.topic.physical], len(p.messages))) for p in publications]


def _take(
    store: Store, topic: str, publications: Sequence[Publication], full: StorageFull | None
) -> Sequence[str | Exception]:
    """Everything for one topic. Answers for each message, in their order."""
    messages = [message for publication in publications for message in publication.messages]
    newest, subscribed = store.row(_LOOK, (topic,))
    if subscribed is None:
        if store.one("SELECT 1 FROM topic WHERE name = ?", (topic,)) is None:
            return [_unknown_topic(store, topic)] * len(messages)
        return [message.id for message in messages]  # nobody wants it: nothing is kept
    exact = any(publication.topic.exactly_once for publication in publications)
    known = _known_ones(store, topic, messages) if exact else {}
    new = _unknown(messages, known) if exact else messages
    if full is not None:
        return [known.get(message.dedupe_id, full) for message in messages]
    if new:
        numbers = _insert(store, newest, new)
        begin, last = numbers[0], numbers[-1]
        store.execute(_FAN_OUT, (begin, last, topic))
        if any(message.ordering_key is not None for message in new):
            store.execute(_HEADS, (begin, last))
        store.touched.update(map(int, subscribed.split(",")))
        if not exact:
            return list(map(str, numbers))
        ids = {message.dedupe_id: number for message, number in zip(new, numbers, strict=True)}
        store.execute(_REMEMBER, (topic, store.now() + DEDUPE_WINDOW, msgspec.json.encode(ids).decode()))
        known |= {dedupe_id: str(number) for dedupe_id, number in ids.items()}
    return [known[message.dedupe_id] for message in messages]


def _insert(store: Store, newest: int | None, messages: Sequence[Outgoing]) -> range:
    """Answers their numbers; all between are of this topic."""
    now = store.now()
    begin = seq = store.seq_after(newest, now)
    for start in range(0, len(messages), ROWS):
        rows = messages[start : start + ROWS]
        values: list[object] = []
        for message in rows:
            values += (
                seq,
                message.id,
                message.ordering_key,
                microseconds(message.published_at),
                now,
                later(now, message.delay) if message.delay > 0 else 0,
                msgspec.json.encode(message.attributes).decode() if message.attributes else None,
                message.payload,
            )
            seq += 1
        # PERF: one statement for many rows gives the interpreter lock away once, executemany once per row.
        store.execute(_insert_of(len(rows)), values)
    return range(begin, seq)


@functools.cache
def _insert_of(rows: int) -> str:
    """The statement for so many rows."""
    return _INSERT + ",".join(["(?,?,?,?,?,?,?,?)"] * rows)


def _known_ones(store: Store, topic: str, messages: Sequence[Outgoing]) -> dict[str, str | Exception]:
    """Those that were published before, by their dedupe ids, with the answer of that time."""
    asked = msgspec.json.encode([message.dedupe_id for message in messages]).decode()
    found = _known.decode(store.one(_SEEN, (topic, asked)))
    return {dedupe_id: str(number) for dedupe_id, number in found.items()}


def _unknown(messages: Sequence[Outgoing], known: Collection[str]) -> list[Outgoing]:
    """Those that were not. Of two with one dedupe id, the first."""
    new: dict[str, Outgoing] = {}
    for message in messages:
        if message.dedupe_id not in known:
            new.setdefault(message.dedupe_id, message)
    return list(new.values())


def _unknown_topic(store: Store, topic: str) -> BrokerUnavailable:
    """Boot, scripts and `fastlane pubsub publish` register what is declared, before anything is published."""
    return BrokerUnavailable(
        f"{store.options.path}: knows no topic {topic!r}: it is not the file that was there at boot\n"
        "    mend: restart the processes that use it"
    )


def _full(store: Store) -> StorageFull | None:
    if not store.is_full():
        return None
    return StorageFull(
        f"the local broker's file has reached its max_bytes ({store.options.max_bytes}): nobody consumes, or "
        "dead letters fill it\n"
        "    mend: consume, purge dead letters (`fastlane pubsub`), or raise max_bytes of the provider"
    )


publish: Operation[Publication, list[str | Exception]] = Operation(_publish)
