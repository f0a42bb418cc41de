"""Publishing, in SQL: what everybody publishes at the same moment goes in together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from fastlane.pubsub.envelope import Outgoing
from fastlane.pubsub.provider import BoundTopic
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

_INSERT = "INSERT INTO message (seq, id, key, published_at, stored_at, due_at, attributes, body) VALUES "
_FAN_OUT = """INSERT INTO delivery (seq, subscription, key, visible_at)
    SELECT m.seq, s.id, m.key, iif(m.key IS NULL, m.due_at, NULL) FROM message m CROSS JOIN subscription s
    WHERE m.seq BETWEEN :1 AND :2 AND s.topic = :3"""
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
    answers: list[list[str | Exception]] = [[""] * len(p.messages) for p in publications]
    full = _full(store)
    by_topic: dict[str, list[tuple[list[str | Exception], int, Outgoing]]] = {}
    exact: set[str] = set()
    for publication, answer in zip(publications, answers, strict=True):
        waiting = by_topic.setdefault(publication.topic.physical, [])
        waiting += [(answer, index, message) for index, message in enumerate(publication.messages)]
        if publication.topic.exactly_once:
            exact.add(publication.topic.physical)
    first = last = 0
    keyed = False
    for topic, waiting in by_topic.items():
        subscribed: str | None = store.one("SELECT group_concat(id) FROM subscription WHERE topic = ?", (topic,))
        if subscribed is None:
            for answer, index, message in waiting:
                answer[index] = message.id  # nobody wants it: nothing is kept
            continue
        if topic in exact:
            waiting = _new(store, topic, waiting)
        if full is not None:
            for answer, index, _ in waiting:
                answer[index] = full
            continue
        if not waiting:
            continue
        begin, last = _insert(store, waiting)
        first = first or begin
        keyed = keyed or any(message.ordering_key is not None for _, _, message in waiting)
        store.execute(_FAN_OUT, (begin, last, topic))
        if topic in exact:
            ids = {message.dedupe_id: int(str(answer[index])) for answer, index, message in waiting}
            store.execute(_REMEMBER, (topic, store.now() + DEDUPE_WINDOW, msgspec.json.encode(ids).decode()))
            _answer_doubles(by_topic[topic], ids)
        store.touched.update(map(int, subscribed.split(",")))
    if keyed:
        store.execute(_HEADS, (first, last))
    return answers


def _insert(store: Store, waiting: list[tuple[list[str | Exception], int, Outgoing]]) -> tuple[int, int]:
    """Answers the first and the last seq; all between are of this topic."""
    now = store.now()
    begin = seq = store.next_seq()
    for start in range(0, len(waiting), ROWS):
        rows = waiting[start : start + ROWS]
        values: list[object] = []
        for answer, index, message in rows:
            answer[index] = str(seq)
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
        store.execute(_INSERT + ",".join(["(?,?,?,?,?,?,?,?)"] * len(rows)), values)
    return begin, seq - 1


def _new(
    store: Store, topic: str, waiting: list[tuple[list[str | Exception], int, Outgoing]]
) -> list[tuple[list[str | Exception], int, Outgoing]]:
    """Without those that were published before; they get the answer of the first time. Of two here, the first."""
    asked = msgspec.json.encode([message.dedupe_id for _, _, message in waiting]).decode()
    known = _known.decode(store.one(_SEEN, (topic, asked)))
    new: dict[str, tuple[list[str | Exception], int, Outgoing]] = {}
    for entry in waiting:
        answer, index, message = entry
        if message.dedupe_id in known:
            answer[index] = str(known[message.dedupe_id])
        else:
            new.setdefault(message.dedupe_id, entry)
    return list(new.values())


def _answer_doubles(waiting: list[tuple[list[str | Exception], int, Outgoing]], ids: dict[str, int]) -> None:
    for answer, index, message in waiting:
        if message.dedupe_id in ids:
            answer[index] = str(ids[message.dedupe_id])


def _full(store: Store) -> StorageFull | None:
    limit = store.options.max_bytes
    size = store.one("PRAGMA page_size")
    pages = store.one("PRAGMA page_count")
    if pages * size <= limit or (pages - store.one("PRAGMA freelist_count")) * size <= limit:
        return None
    return StorageFull(
        f"the local broker's file has reached its max_bytes ({limit}): nobody consumes, or dead letters fill it\n"
        "    mend: consume, purge dead letters (`fastlane pubsub`), or raise max_bytes of the provider"
    )


publish: Operation[Publication, list[str | Exception]] = Operation(_publish)
