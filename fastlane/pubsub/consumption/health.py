"""What a consumption tells about itself: numbers for metrics, and one line of log when something changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from msgspec import Struct

from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.redaction import redacted

__all__ = ["Health", "Troubles", "logger", "one_line", "one_line_of"]

logger = logging.getLogger("fastlane.pubsub")

_LONGEST_LINE = 500


class Health(Struct, eq=False):
    """Counters of one subscription in this worker since it started. Any thread may read them.

    Attributes:
        share: how many handlers may run at the same time.
        running: handlers that run or are about to.
        held: messages under a lease, those included that run.
        received: deliveries that the broker handed out.
        handled: messages whose handler succeeded.
        failed: attempts that failed, undecodable messages included.
        retried: attempts after which another one follows.
        dead: messages that went to the dead letters.
        filtered: messages that the filter did not let pass.
        released: messages that were handed back without a result.
        extended: leases that were extended.
        lost: leases that ended before the message was settled.
        abandoned: handlers that did not end when they were cancelled.
        errors: calls to the broker that failed.
        reachable: the last receive has worked.
    """

    share: int = 0
    running: int = 0
    held: int = 0
    received: int = 0
    handled: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    filtered: int = 0
    released: int = 0
    extended: int = 0
    lost: int = 0
    abandoned: int = 0
    errors: int = 0
    reachable: bool = True


class Troubles:
    """Which calls to the broker fail at the moment. The log gets one line when that begins, and one when it ends."""

    __slots__ = ("_failing", "_health", "_source")

    def __init__(self, source: str, health: Health) -> None:
        self._failing: set[str] = set()
        self._source = source
        self._health = health

    def failed(self, call: str, error: BaseException, then: str = "trying again") -> None:
        """``call`` (a verb) has failed; ``then`` says what is done about it."""
        self._health.errors += 1
        if call in self._failing:
            return
        self._failing.add(call)
        # An error of the network needs no traceback; anything else is a mistake in a provider, or in ours.
        expected = isinstance(error, BrokerUnavailable | TimeoutError)
        logger.warning(
            "subscription %s can't %s: %s; %s",
            self._source,
            call,
            one_line(error),
            then,
            exc_info=None if expected else error,
        )

    def worked(self, call: str) -> None:
        """``call`` has worked."""
        if call in self._failing:
            self._failing.discard(call)
            logger.info("subscription %s can %s again", self._source, call)

    def lost(self, ids: Sequence[str], story: str) -> None:
        """Leases were lost; ``story`` says of which messages, and what follows."""
        self._health.lost += len(ids)
        names = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
        logger.warning("subscription %s: %d leases were lost %s: %s", self._source, len(ids), story, names)


def one_line(error: BaseException) -> str:
    """Type and text of an exception, in one bounded line."""
    text = one_line_of(error)
    return f"{type(error).__name__}: {text}"[:_LONGEST_LINE] if text else type(error).__name__


def one_line_of(told: object) -> str:
    """What somebody says, in one bounded line, without secrets. It may be no text, and unable to become one."""
    try:
        text = str(told)
    except Exception as error:  # the user's __str__: the message must not suffer for it
        return f"(its text is missing: __str__ raised {type(error).__name__})"
    line = " ".join(redacted(text).split())[:_LONGEST_LINE]
    # Neither a database nor an attribute takes a NUL or half a surrogate, and a dead letter has to be written.
    return (
        line
        if line.isprintable()
        else "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)
    )
