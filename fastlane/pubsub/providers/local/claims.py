"""Consuming, in SQL: claim, acknowledge, retry, release, extend, and what they have in common.

Whoever holds the lease's token may do them; a token that is not there any more is a lost lease, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from secrets import randbits

import msgspec
from msgspec import Struct

from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.providers.local.database import Operation
from fastlane.pubsub.providers.local.intake import later, microseconds, moment
from fastlane.pubsub.providers.local.store import Store

__all__ = [
    "Burial",
    "Claim",
    "Claimed",
    "Extension",
    "Held",
    "Lease",
    "Return",
    "ack",
    "bury",
    "claim",
    "drop_unwanted",
    "extend",
    "give_back",
    "json_list",
    "promote",
]


class Lease(Struct, frozen=True):
    """What a `Delivery` keeps for us."""

    seq: int
    token: int
    key: str | None


class Claim(Struct, frozen=True):
    """At most ``limit`` messages, for ``seconds``."""

    subscription: int
    limit: int
    seconds: float


class Claimed(Struct, frozen=True):
    """What there was; without any, in how many seconds there will be more, as far as it is known."""

    deliveries: list[Delivery]
    wait: float | None = None


class Held(Struct, frozen=True):
    """Some leases of a subscription."""

    subscription: int
    leases: Sequence[Lease]


class Extension(Struct, frozen=True):
    """They end ``seconds`` from now."""

    subscription: int
    leases: Sequence[Lease]
    seconds: float


class Return(Struct, frozen=True):
    """Hand them out again: ``delay`` None at once. ``unstarted``: no handler has seen them."""

    subscription: int
    leases: Sequence[Lease]
    delay: float | None
    unstarted: bool


class Burial(Struct, frozen=True):
    """Make it a dead letter."""

    subscription: int
    lease: Lease
    letter: DeadLetter


class _Row(Struct, array_like=True):
    seq: int
    id: str
    key: str | None
    published_at: int
    attempt: int
    receives: int
    attributes: str | None
    body: str


# Rows as one JSON text, the body in hexadecimal: see `Store.one`.
_CLAIM = """SELECT json_group_array(json_array(seq, id, key, published_at, attempt, receives, attributes, hex(body)))
    FROM (SELECT d.seq, m.id, d.key, m.published_at, d.attempt, d.receives, m.attributes, m.body
          FROM delivery d CROSS JOIN message m ON m.seq = d.seq
          WHERE d.subscription = :1 AND d.visible_at <= :2 ORDER BY d.visible_at, d.seq LIMIT :3)"""
_LEASE = """UPDATE delivery SET token = :1 + seq, visible_at = :2, attempt = attempt + 1, receives = receives + 1
    WHERE subscription = :3 AND seq IN (SELECT value FROM json_each(:4))"""
_NEXT = "SELECT min(visible_at) FROM delivery WHERE subscription = ? AND visible_at IS NOT NULL"
_PAUSED = "SELECT paused FROM subscription WHERE id = ?"

# A token belongs to one seq, so both lists together say the same as a list of pairs.
_THESE = """subscription = :1 AND seq IN (SELECT value FROM json_each(:2))
    AND token IN (SELECT value FROM json_each(:3))"""
_HELD = f"SELECT json_group_array(token) FROM delivery WHERE {_THESE}"
_ACK = f"DELETE FROM delivery WHERE {_THESE}"
_EXTEND = f"UPDATE delivery SET visible_at = :4 WHERE {_THESE}"
_RETURN = f"UPDATE delivery SET visible_at = :4, token = 0, attempt = attempt - :5 WHERE {_THESE}"
_BURY = """INSERT INTO dead (subscription, seq, reason, error, source, attempt, died_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_PROMOTE = """UPDATE delivery SET visible_at = (SELECT m.due_at FROM message m WHERE m.seq = delivery.seq)
    WHERE subscription = :1 AND visible_at IS NULL AND seq IN (
        SELECT (SELECT min(d.seq) FROM delivery d WHERE d.subscription = :1 AND d.key = j.value)
        FROM json_each(:2) j)"""
_UNWANTED = """DELETE FROM message WHERE seq IN (SELECT value FROM json_each(:1))
    AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.seq = message.seq)
    AND NOT EXISTS (SELECT 1 FROM dead x WHERE x.seq = message.seq)"""

_rows = msgspec.json.Decoder(list[_Row])
_numbers = msgspec.json.Decoder(list[int])
_attributes = msgspec.json.Decoder(dict[str, str])


def json_list(values: Iterable[int | str | None]) -> str:
    """For ``json_each``."""
    return msgspec.json.encode(list(values)).decode()


def promote(store: Store, subscription: int, keys: set[str]) -> None:
    """After something of ``keys`` has gone: what is now the first of its key may be handed out."""
    if keys and store.execute(_PROMOTE, (subscription, json_list(keys))):
        store.touched.add(subscription)


def drop_unwanted(store: Store, seqs: Iterable[int]) -> None:
    """Delete those messages that nobody waits for any more."""
    store.execute(_UNWANTED, (json_list(seqs),))


def _wait(store: Store, claim: Claim) -> Claimed | None:
    """Nothing is there, and when there will be; None: something is."""
    due: int | None = store.one(_NEXT, (claim.subscription,))
    if due is None:
        return Claimed([])
    if store.one(_PAUSED, (claim.subscription,)) != 0:
        return Claimed([])
    now = store.now()
    return None if due <= now else Claimed([], (due - now) / 1000)


def _claim(store: Store, claims: Sequence[Claim]) -> list[Claimed]:
    return [_claim_one(store, claim) for claim in claims]


def _claim_one(store: Store, claim: Claim) -> Claimed:
    now = store.now()
    rows = _rows.decode(store.one(_CLAIM, (claim.subscription, now, claim.limit)))
    if not rows:
        return Claimed([])  # another was faster
    base = randbits(61) + 1
    seqs = json_list(row.seq for row in rows)
    store.execute(_LEASE, (base, later(now, claim.seconds), claim.subscription, seqs))
    return Claimed([_delivery(row, base) for row in sorted(rows, key=lambda row: row.seq)])


def _delivery(row: _Row, base: int) -> Delivery:
    return Delivery(
        id=row.id,
        broker_id=str(row.seq),
        payload=bytes.fromhex(row.body),
        attributes={} if row.attributes is None else _attributes.decode(row.attributes),
        ordering_key=row.key,
        published_at=moment(row.published_at),
        attempt=row.attempt + 1,
        receives=row.receives + 1,
        lease=Lease(row.seq, base + row.seq, row.key),
    )


def _these(subscription: int, leases: Sequence[Lease]) -> tuple[int, str, str]:
    return subscription, json_list(lease.seq for lease in leases), json_list(lease.token for lease in leases)


def _ack(store: Store, acks: Sequence[Held]) -> list[set[int]]:
    lost = []
    for one in acks:
        these = _these(one.subscription, one.leases)
        lost.append(_lost(store, one.leases, these))
        store.execute(_ACK, these)
        promote(store, one.subscription, {lease.key for lease in one.leases if lease.key is not None})
        drop_unwanted(store, (lease.seq for lease in one.leases))
    return lost


def _lost(store: Store, leases: Sequence[Lease], these: tuple[int, str, str]) -> set[int]:
    """The tokens that nothing is leased by any more."""
    return {lease.token for lease in leases}.difference(_numbers.decode(store.one(_HELD, these)))


def _extend(store: Store, extensions: Sequence[Extension]) -> list[set[int]]:
    lost = []
    for one in extensions:
        these = _these(one.subscription, one.leases)
        changed = store.execute(_EXTEND, (*these, later(store.now(), one.seconds)))
        lost.append(set() if changed == len(one.leases) else _lost(store, one.leases, these))
    return lost


def _give_back(store: Store, returns: Sequence[Return]) -> list[None]:
    for one in returns:
        at = 0 if one.delay is None else later(store.now(), one.delay)
        if store.execute(_RETURN, (*_these(one.subscription, one.leases), at, int(one.unstarted))) and not one.delay:
            store.touched.add(one.subscription)
    return [None] * len(returns)


def _bury(store: Store, burials: Sequence[Burial]) -> list[None]:
    for one in burials:
        letter, lease = one.letter, one.lease
        if not store.execute(_ACK, _these(one.subscription, [lease])):
            continue  # the lease was lost: somebody else has it now, and decides
        store.execute(
            _BURY,
            (
                one.subscription,
                lease.seq,
                letter.reason,
                letter.error,
                letter.source,
                letter.attempt,
                microseconds(letter.died_at),
            ),
        )
        promote(store, one.subscription, set() if lease.key is None else {lease.key})
    return [None] * len(burials)


claim: Operation[Claim, Claimed] = Operation(_claim, ready=_wait)
ack: Operation[Held, set[int]] = Operation(_ack)
extend: Operation[Extension, set[int]] = Operation(_extend)
give_back: Operation[Return, None] = Operation(_give_back)
bury: Operation[Burial, None] = Operation(_bury)
