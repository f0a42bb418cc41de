"""A look at the brokers, once per boot: is everything there that the app needs?"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from fastlane.pubsub.placement.kinds import PROVISIONED, kind_of
from fastlane.pubsub.placement.placements import Placements
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable, Provider, Step

__all__ = ["look"]

LONGEST_PAUSE: Final = 2.0

logger = logging.getLogger("fastlane.pubsub")


async def look(placements: Placements, timeout: float, extend: Callable[[str], None]) -> list[str]:
    """What is missing, each with its mend. What the framework keeps itself (``local``, ``postgres``) is made instead.

    Args:
        timeout: seconds for a broker that can't be reached; then it is left to the workers, with a warning.
        extend: called while a broker is waited for.
    """
    answers = await asyncio.gather(*(_look(placements, one, timeout, extend) for one in placements.providers))
    return [mistake for mistakes in answers for mistake in mistakes]


async def _look(placements: Placements, provider: Provider, timeout: float, extend: Callable[[str], None]) -> list[str]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    pause = 0.1
    told = ""
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                return _judged(provider, await _steps(placements, provider))
        except BrokerForbidden as error:
            logger.warning("provider %r: it may not be looked whether everything is there: %s", provider.name, error)
            return []
        except (BrokerUnavailable, TimeoutError) as error:
            left = deadline - loop.time()
            if left <= 0:
                logger.warning(
                    "provider %r can't be reached within %g s: the app starts without it, and goes on trying (%s)",
                    provider.name,
                    timeout,
                    str(error) or "no answer",
                )
                return []
            if str(error) != told:
                told = str(error)
                logger.info("provider %r can't be reached, trying again: %s", provider.name, error)
            extend(f"waiting for provider {provider.name!r}")
            await asyncio.sleep(min(left, pause * (0.5 + random.random())))
            pause = min(LONGEST_PAUSE, pause * 2)


async def _steps(placements: Placements, provider: Provider) -> Sequence[Step]:
    topics, subscriptions = placements.of(provider)
    administrator = await provider.open_administrator()
    try:
        if kind_of(provider.options) in PROVISIONED:
            await administrator.provision(topics, subscriptions)
            return []
        return await administrator.plan(topics, subscriptions)
    finally:
        await administrator.close()


def _judged(provider: Provider, steps: Sequence[Step]) -> list[str]:
    missing = [step for step in steps if step.action == "create"]
    for step in steps:
        if step.action == "change":
            logger.warning(
                "provider %r: %s %s differs from what is declared (%s): see `fastlane pubsub provision --dry-run`",
                provider.name,
                step.what,
                step.physical,
                step.detail,
            )
    if not missing:
        return []
    listed = "".join(f"\n      {step.what} {step.physical}" for step in missing)
    mend = "    mend: fastlane pubsub provision APP    (--dry-run shows what it would do)"
    return [f"provider {provider.name!r} lacks what the app needs:{listed}\n{mend}"]
