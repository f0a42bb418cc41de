"""Dead letters, in SQL: listed, replayed, removed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from fastlane.pubsub.envelope import DeadLetter
from fastlane.pubsub.provider import BoundSubscription
from fastlane.pubsub.providers.local.claims import drop_unwanted, json_list, promote
from fastlane.pubsub.providers.local.database import Operation
from fastlane.pubsub.providers.local.intake import moment
from fastlane.pubsub.providers.local.registry import number_of
from fastlane.pubsub.providers.local.store import Store

__all__ = ["Selection", "listed", "purge", "replay"]


class Selection(Struct, frozen=True):
    """The oldest ``limit`` dead letters of a subscription; of those with one of ``ids``, where there are any given."""

    subscription: BoundSubscription
    ids: Sequence[str] | None
    limit: int


class _Row(Struct, array_like=True):
    position: int
    id: str
    key: str | None
    published_at: int
    attributes: str | None
    body: str
    reason: str
    error: str
    source: str
    attempt: int
    died_at: int


class _Place(Struct, array_like=True):
    position: int
    seq: int
    key: str | None


_CHOSEN = """FROM dead x CROSS JOIN message m ON m.seq = x.seq
    WHERE x.subscription = :1 AND (:2 IS NULL OR m.id IN (SELECT value FROM json_each(:2)))
    ORDER BY x.position LIMIT :3"""
_LIST = f"""SELECT json_group_array(json_array(
        position, id, key, published_at, attributes, hex(body), reason, error, source, attempt, died_at))
    FROM (SELECT x.position, m.id, m.key, m.published_at, m.attributes, m.body, x.reason, x.error, x.source, x.attempt,
          x.died_at {_CHOSEN})"""
_PLACES = f"SELECT json_group_array(json_array(position, seq, key)) FROM (SELECT x.position, x.seq, m.key {_CHOSEN})"
_COPY = """INSERT INTO message (seq, id, key, published_at, stored_at, due_at, attributes, body)
    SELECT :3, id, key, published_at, :2, 0, attributes, body FROM message WHERE seq = :1"""
_DELIVER = "INSERT INTO delivery (seq, subscription, key, visible_at) VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM dead WHERE position IN (SELECT value FROM json_each(?))"

_rows = msgspec.json.Decoder(list[_Row])
_places = msgspec.json.Decoder(list[_Place])
_attributes = msgspec.json.Decoder(dict[str, str])


def _chosen(number: int, selection: Selection) -> tuple[int, str | None, int]:
    return number, None if selection.ids is None else json_list(selection.ids), selection.limit


def _listed(store: Store, selection: Selection) -> list[DeadLetter]:
    number = number_of(store, selection.subscription)
    if number is None:
        return []
    rows = _rows.decode(store.one(_LIST, _chosen(number, selection)))
    return [
        DeadLetter(
            id=row.id,
            payload=bytes.fromhex(row.body),
            attributes={} if row.attributes is None else _attributes.decode(row.attributes),
            ordering_key=row.key,
            published_at=moment(row.published_at),
            reason=row.reason,
            error=row.error,
            source=row.source,
            attempt=row.attempt,
            died_at=moment(row.died_at),
            position=str(row.position),
        )
        for row in rows
    ]


def _taken(store: Store, selection: Selection) -> tuple[int, list[_Place]]:
    """The subscription's number and the chosen letters, which are dead letters no more; their messages are."""
    number = number_of(store, selection.subscription)
    if number is None:
        return 0, []
    places = _places.decode(store.one(_PLACES, _chosen(number, selection)))
    store.execute(_REMOVE, (json_list(place.position for place in places),))
    return number, places


def _replay(store: Store, selections: Sequence[Selection]) -> list[int]:
    counts = []
    for selection in selections:
        number, places = _taken(store, selection)
        for place in places:
            # A new place in the order: what came after it may be running.
            seq = store.next_seq()
            store.execute(_COPY, (place.seq, store.now(), seq))
            store.execute(_DELIVER, (seq, number, place.key, 0 if place.key is None else None))
        promote(store, number, {place.key for place in places if place.key is not None})
        drop_unwanted(store, (place.seq for place in places))
        if places:
            store.touched.add(number)
        counts.append(len(places))
    return counts


def _purge(store: Store, selections: Sequence[Selection]) -> list[int]:
    counts = []
    for selection in selections:
        _, places = _taken(store, selection)
        drop_unwanted(store, (place.seq for place in places))
        counts.append(len(places))
    return counts


listed: Operation[Selection, list[DeadLetter]] = Operation(
    lambda store, asked: [_listed(store, one) for one in asked], ready=_listed
)
replay: Operation[Selection, int] = Operation(_replay)
purge: Operation[Selection, int] = Operation(_purge)
