"""Which topics and subscriptions the file knows, and how much waits, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from fastlane.pubsub.provider import Backlog, BoundSubscription, BoundTopic, Step
from fastlane.pubsub.providers.local.database import Operation
from fastlane.pubsub.providers.local.store import Store

__all__ = ["Declared", "Pause", "backlog", "missing", "number_of", "pause", "plan", "provision", "register"]


class Declared(Struct, frozen=True):
    """What an app declares."""

    topics: Sequence[BoundTopic]
    subscriptions: Sequence[BoundSubscription]


class Pause(Struct, frozen=True):
    subscription: BoundSubscription
    paused: bool


_counts = msgspec.json.Decoder(tuple[int, int, int, bool])

# From the index alone: a million messages are counted in some tens of milliseconds, and nobody waits for that.
_BACKLOG = """SELECT json_array(
        (SELECT count(*) FROM delivery WHERE subscription = :1),
        (SELECT count(*) FROM delivery WHERE subscription = :1 AND visible_at > :2 AND token <> 0),
        (SELECT count(*) FROM dead WHERE subscription = :1),
        json(iif(paused, 'true', 'false')))
    FROM subscription WHERE id = :1"""


def number_of(store: Store, subscription: BoundSubscription) -> int | None:
    """Its number in the file; None: it is not registered."""
    number: int | None = store.one("SELECT id FROM subscription WHERE name = ?", (subscription.physical,))
    return number


def missing(declared: Declared, topics: set[str], subscriptions: dict[str, str]) -> list[Step]:
    """What a file lacks that knows these topics, and these subscriptions with their topics."""
    steps = [Step("create", "topic", t.physical) for t in declared.topics if t.physical not in topics]
    for subscription in declared.subscriptions:
        detail = f"of topic {subscription.topic.physical}"
        there = subscriptions.get(subscription.physical)
        if there is None:
            steps.append(Step("create", "subscription", subscription.physical, detail))
        elif there != subscription.topic.physical:
            steps.append(Step("change", "subscription", subscription.physical, f"{detail}, not of {there}"))
    return steps


def _missing(store: Store, declared: Declared) -> list[Step]:
    topics: str = store.one("SELECT json_group_array(name) FROM topic")
    subscriptions: str = store.one("SELECT json_group_object(name, topic) FROM subscription")
    return missing(
        declared,
        set(msgspec.json.decode(topics, type=list[str])),
        msgspec.json.decode(subscriptions, type=dict[str, str]),
    )


def _provision(store: Store, asked: Sequence[Declared]) -> list[list[Step]]:
    done = []
    for declared in asked:
        steps = _missing(store, declared)
        done.append(steps)
        if not steps:
            continue
        for topic in declared.topics:
            store.execute("INSERT OR IGNORE INTO topic (name) VALUES (?)", (topic.physical,))
        for subscription in declared.subscriptions:
            store.execute(
                "INSERT INTO subscription (name, topic) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET topic = excluded.topic WHERE topic <> excluded.topic",
                (subscription.physical, subscription.topic.physical),
            )
    return done


def _register(store: Store, subscriptions: Sequence[BoundSubscription]) -> list[int]:
    numbers = []
    for one in subscriptions:
        store.execute("INSERT OR IGNORE INTO topic (name) VALUES (?)", (one.topic.physical,))
        store.execute(
            "INSERT OR IGNORE INTO subscription (name, topic) VALUES (?, ?)", (one.physical, one.topic.physical)
        )
        number = number_of(store, one)
        assert number is not None
        numbers.append(number)
    return numbers


def _backlog(store: Store, subscription: BoundSubscription) -> Backlog:
    number = number_of(store, subscription)
    if number is None:
        return Backlog(0, 0, 0, False)
    total, in_flight, dead, paused = _counts.decode(store.one(_BACKLOG, (number, store.now())))
    return Backlog(total - in_flight, in_flight, dead, paused)


def _pause(store: Store, asked: Sequence[Pause]) -> list[None]:
    for one in asked:
        (number,) = _register(store, [one.subscription])
        store.execute("UPDATE subscription SET paused = ? WHERE id = ?", (int(one.paused), number))
        store.touched.add(number)
    return [None] * len(asked)


def _reads(read: Callable[[Store, Declared], list[Step]]) -> Operation[Declared, list[Step]]:
    return Operation(lambda store, asked: [read(store, one) for one in asked], ready=read)


plan: Operation[Declared, list[Step]] = _reads(_missing)
provision: Operation[Declared, list[Step]] = Operation(_provision)
register: Operation[BoundSubscription, int] = Operation(_register, ready=number_of)
backlog: Operation[BoundSubscription, Backlog] = Operation(
    lambda store, asked: [_backlog(store, one) for one in asked], ready=_backlog
)
pause: Operation[Pause, None] = Operation(_pause)
