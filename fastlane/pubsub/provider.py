"""What a provider is: the little that differs from broker to broker.

    Provider ──┬── Publisher       publish                         on the worker's event loop
               ├── Source          receive, ack, retry, extend …   on the event loop for consuming, in a second thread
               └── Administrator   check, provision, dead letters  in the boot process and on the command line

Everything else (concurrency, leases, backoff, dead-lettering, poison, order, drain, buffers and retries of a publish)
is the framework's, the same for all. A provider imports its client library when its module is imported, and opens
nothing before it is told to.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from msgspec import Struct

from fastlane.errors import FastlaneError
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.clock import Clock
from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing

__all__ = [
    "Administrator",
    "Backlog",
    "BoundSubscription",
    "BoundTopic",
    "BrokerForbidden",
    "BrokerUnavailable",
    "Provider",
    "PublishRefused",
    "Publisher",
    "Source",
    "Step",
]


class BrokerUnavailable(FastlaneError):
    """The broker can't be reached, or asks to come back later. The same call may be made again."""


class BrokerForbidden(FastlaneError):
    """The credentials may not do this. At boot a warning: looking may be forbidden where using is allowed."""


class PublishRefused(FastlaneError):
    """The broker will never take this message: too large, no such topic, not allowed. Trying again is no use."""


class BoundTopic(Struct, frozen=True, kw_only=True):
    """A topic with its place in a broker.

    Attributes:
        name: as declared.
        physical: the broker's name for it, or its ARN.
        ordered: it has an ``order_by``: the order of a key is kept, and every message has one.
        exactly_once: declared with ``delivery="exactly-once"``.
    """

    name: str
    physical: str
    ordered: bool = False
    exactly_once: bool = False


class BoundSubscription(Struct, frozen=True, kw_only=True):
    """A subscription with its place in a broker.

    Attributes:
        name: as declared.
        physical: the broker's name for it, its ARN or its URL.
        dead: the broker's name for its dead letters.
        topic: what it subscribes to.
        ack_deadline: seconds of a lease.
        max_attempts: None is "for ever".
        max_backoff, timeout: seconds.
    """

    name: str
    physical: str
    dead: str
    topic: BoundTopic
    ack_deadline: float
    max_attempts: int | None
    max_backoff: float
    timeout: float

    @property
    def source(self) -> str:
        """``topic/subscription``, for people and dead letters."""
        return f"{self.topic.name}/{self.name}"


class Publisher(abc.ABC):
    """Hands messages over. Used on one event loop."""

    @abc.abstractmethod
    async def publish(self, topic: BoundTopic, messages: Sequence[Outgoing]) -> Sequence[str | Exception]:
        """Answers once the broker has confirmed: for each message its id there, or why it was not taken.

        At most ``batch_size`` messages and ``batch_bytes`` bytes, as the capabilities say. The messages of an ordered
        topic arrive in the order given: behind one that fails, none of its key is taken. Several calls may run at the
        same time; of an ordered topic never two with the same key.

        An exception in the answer, or raised for all of them, is `BrokerUnavailable` (the outcome may be unknown; the
        framework tries again, with the same ids) or `PublishRefused` (for good). It may be cancelled.
        """

    async def close(self) -> None:
        """Free the connections. Nothing is in flight any more."""


class Source(abc.ABC):
    """Receives the messages of one subscription. Used on one event loop; its methods may run side by side.

    Every method raises `BrokerUnavailable` when the broker can't be reached; the core tries again.
    """

    @abc.abstractmethod
    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Wait for messages and lease them for ``ack_deadline`` seconds: at least one, at most ``limit``.

        Answers without any when nothing came for some seconds. One receive at a time per source, or as many as
        ``receives`` and ``ordered_receives`` of the capabilities say. When it is cancelled,
        what the broker may still hand out to it is released (the provider waits at most a second for that).
        """

    @abc.abstractmethod
    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """These are done for good. Answers those whose lease was lost: somebody else will get them again."""

    @abc.abstractmethod
    async def retry(self, delivery: Delivery, delay: float) -> None:
        """This attempt failed; hand it out again after ``delay`` seconds."""

    @abc.abstractmethod
    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """No handler was started: hand them out again at once, and don't count it as an attempt where that is possible.

        Of one key the order is kept.
        """

    @abc.abstractmethod
    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        """The leases end in ``seconds`` from now. Answers those that were lost."""

    @abc.abstractmethod
    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        """Put it among the subscription's dead letters, then acknowledge it; never only the second."""

    async def close(self) -> None:
        """Free the connections. What is still leased is handed out again, at once where that is possible."""


class Backlog(Struct, frozen=True):
    """How much there is; None where the broker does not tell.

    Attributes:
        waiting: messages that nobody has, delayed ones included.
        in_flight: leased ones.
        dead: dead letters.
        paused: the subscription hands out nothing.
    """

    waiting: int | None
    in_flight: int | None
    dead: int | None
    paused: bool | None


class Step(Struct, frozen=True):
    """Something that is missing in a broker, or differs.

    Attributes:
        action: ``create``, or ``change`` where it is there and differs.
        what: ``topic``, ``subscription``, ``dead letters``, or what else the broker needs (``queue policy``).
        physical: its name.
        detail: what it gets, in a few words, for the plan that people read.
    """

    action: Literal["create", "change"]
    what: str
    physical: str
    detail: str = ""


class Administrator(abc.ABC):
    """What the boot process and the command line ask of a broker. Used on one event loop.

    Methods raise `BrokerUnavailable` or `BrokerForbidden`; what a broker can't do at all is a `NotImplementedError`
    with a sentence for the user.
    """

    @abc.abstractmethod
    async def plan(self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]) -> Sequence[Step]:
        """What is missing or different, in the order in which `provision` would mend it. Changes nothing."""

    @abc.abstractmethod
    async def provision(
        self, topics: Sequence[BoundTopic], subscriptions: Sequence[BoundSubscription]
    ) -> Sequence[Step]:
        """Mend all of that; answers what was done. Idempotent, and safe beside another one that does the same."""

    @abc.abstractmethod
    async def backlog(self, subscription: BoundSubscription) -> Backlog: ...

    @abc.abstractmethod
    async def dead_letters(self, subscription: BoundSubscription, limit: int) -> Sequence[DeadLetter]:
        """The oldest dead letters, which stay where they are (for a while invisible to others, where the capabilities
        say ``received``)."""

    @abc.abstractmethod
    async def replay(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        """Hand dead letters to that subscription alone, as new messages with the old id and attempt 1; then remove.

        ``ids`` None: the oldest ``limit``. Answers how many.
        """

    @abc.abstractmethod
    async def purge(self, subscription: BoundSubscription, ids: Sequence[str] | None, limit: int) -> int:
        """Remove dead letters for good. Answers how many."""

    async def pause(self, subscription: BoundSubscription, paused: bool) -> None:
        """Stop or resume handing out, on all machines."""
        raise NotImplementedError("this broker can't pause a subscription: stop the workers that consume it")

    async def close(self) -> None: ...


class Provider(abc.ABC):
    """A configured broker in one process. Making it opens nothing.

    Attributes:
        capabilities: what the broker can do.
        extra: the extra of the distribution that brings its client; empty: none is needed.
        in_process: messages live in this process: consuming shares the event loop with the handlers.
        clock: what leases, backoff and timeouts of its subscriptions follow, where ``in_process``; None: the loop.
    """

    capabilities: ClassVar[Capabilities]
    extra: ClassVar[str] = ""
    in_process: ClassVar[bool] = False
    clock: Clock | None = None

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    def default_topic_name(self, topic: str, *, ordered: bool, exactly_once: bool) -> str:
        """The physical name of a topic that the configuration gives none."""
        return topic

    def base_name(self, physical: str) -> str:
        """What the subscriptions of a topic are called after: its physical name, without the place that it may say."""
        return physical

    def default_subscription_name(self, topic: str, subscription: str, *, ordered: bool, exactly_once: bool) -> str:
        """The physical name of a subscription that the configuration gives none."""
        return f"{topic}-{subscription}"

    def default_dead_name(self, physical: str) -> str:
        """The physical name of the dead letters of a subscription that is called ``physical``."""
        return f"{physical}-dead"

    def name_problem(self, physical: str, *, ordered: bool, exactly_once: bool) -> str | None:
        """Why no topic or subscription of that kind can be called so; None: one can."""
        return None

    @abc.abstractmethod
    async def open_publisher(self) -> Publisher:
        """On the event loop that will use it. A broker that is down is no error here: the publish says so."""

    @abc.abstractmethod
    async def open_source(self, subscription: BoundSubscription) -> Source:
        """On the event loop that will use it. A broker that is down is no error here: the receive says so."""

    @abc.abstractmethod
    async def open_administrator(self) -> Administrator: ...

    async def database_identity(self) -> str | None:
        """Of a broker that lives in a PostgreSQL database: what ``fastlane.identity()`` answers there. A transaction of
        that database publishes by itself, without an outbox. Called on an event loop that has a publisher.

        Raises:
            BrokerUnavailable: it was never reached, and can't be now.
        """
        return None
