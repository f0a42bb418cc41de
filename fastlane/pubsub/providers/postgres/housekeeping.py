"""Retention: what nobody acknowledges is given up in the end. Every process offers itself, one at a time does it."""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from typing import Final

from fastlane.errors import FastlaneError
from fastlane.pubsub.providers.postgres.links import Links

__all__ = ["RETENTION", "keep_house", "purge_old"]

RETENTION: Final = timedelta(days=7)
EVERY: Final = timedelta(minutes=1)

CHORE: Final = "SELECT fastlane.take_chore('pubsub purge', $1)"
PURGE: Final = "SELECT last, given_up FROM fastlane.pubsub_purge($1, $2)"
FORGET: Final = """
DELETE FROM fastlane.pubsub_seen s WHERE s.expires_at < clock_timestamp()
    AND NOT EXISTS (SELECT FROM fastlane.pubsub_message m WHERE m.seq = s.seq)
"""

logger = logging.getLogger("fastlane.pubsub")


async def keep_house(links: Links) -> None:
    """Once a minute over all processes. Runs until it is cancelled."""
    while True:
        await asyncio.sleep(EVERY.total_seconds() * random.uniform(0.5, 1.0))
        try:
            if await links.value(CHORE, EVERY / 2):
                await purge_old(links)
        except FastlaneError as error:
            logger.debug("the broker's house was not kept: %s", error)


async def purge_old(links: Links, retention: timedelta = RETENTION) -> int:
    """Give up what is older, delayed messages counted from when they were due; forget old dedupe ids. Dead letters
    stay. Answers how many deliveries were given up."""
    total: int = 0
    behind: int = 0
    while True:
        ((last, given_up),) = await links.rows(PURGE, behind, retention)
        total += given_up
        if last is None:
            break
        behind = last
    await links.rows(FORGET)
    if total:
        logger.warning(
            "database %r: %d messages given up after %s, as nobody acknowledged them", links.name, total, retention
        )
    return total
