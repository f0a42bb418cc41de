"""The names that NSQ takes, and those that belong to a subscription."""

from __future__ import annotations

import hashlib
import re

from fastlane.errors import ConfigurationError

__all__ = ["DEAD_CHANNEL", "LONGEST", "check", "dead_name", "replay_name"]

LONGEST = 64

DEAD_CHANNEL = "dead"
"""Of a topic with dead letters. Nobody is subscribed to it: they stay."""

_NAME = re.compile(r"[.a-zA-Z0-9_-]{1,64}")


def check(name: str, what: str) -> str:
    """The name, when NSQ takes it.

    Raises:
        ConfigurationError: it does not.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"{what} {name!r}: NSQ's names have 1 to {LONGEST} letters, digits, dots, dashes and underscores\n"
            "    mend: give it such a `name` in the configuration"
        )
    return name


def dead_name(physical: str) -> str:
    """The topic with the dead letters of the channel ``physical``."""
    return _longer(physical, "-dead")


def replay_name(physical: str) -> str:
    """The topic with messages for the channel ``physical`` alone: NSQ publishes to topics, never to one channel."""
    return _longer(physical, "-replay")


def _longer(physical: str, suffix: str) -> str:
    if len(physical) + len(suffix) <= LONGEST:
        return physical + suffix
    mark = "-" + hashlib.sha256(physical.encode()).hexdigest()[:8]
    return physical[: LONGEST - len(suffix) - len(mark)] + mark + suffix
