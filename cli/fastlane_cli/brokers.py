"""The brokers of an application, as ``fastlane pubsub`` reaches them: for a while, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from fastlane.errors import ConfigurationError
from fastlane_cli.resources import Target, run

if TYPE_CHECKING:
    from fastlane.pubsub.provider import Administrator, BoundSubscription, Provider
    from fastlane.pubsub.service import PubSubService

__all__ = ["administrator_of", "find", "with_service"]

T = TypeVar("T")
WORK_SECONDS = 120.0
"""For a broker that makes a hundred queues, or hands out dead letters."""


def with_service(
    options: dict[str, Any], work: Callable[[PubSubService], Coroutine[Any, Any, T]], nothing: T | None = None
) -> T:
    """Do ``work``.

    Args:
        nothing: the answer for an application without topics; None: that is a mistake.
    """
    target = Target(**options)

    async def main() -> T:
        from fastlane.pubsub.service import PubSubService

        if nothing is not None and target.find(PubSubService) is None:
            return nothing
        service = await target.service(PubSubService, "topic")
        async with AsyncExitStack() as stack:
            await _find_databases(target, service, stack)
            return await work(service)

    return run(main())


async def _find_databases(target: Target, service: PubSubService, stack: AsyncExitStack) -> None:
    """Embedded databases that are brokers: where they are is known when their server runs."""
    from fastlane.pubsub.placement.kinds import kind_of

    if not any(kind_of(provider.options) == "postgres" for provider in service.placements.providers):
        return
    from fastlane.sql.preparation import embedded_urls
    from fastlane.sql.service import SqlService

    databases = target.find(SqlService)
    assert databases is not None  # the provider names a declared one, which was checked
    databases.receive(await embedded_urls(databases, stack))


def find(service: PubSubService, name: str) -> tuple[Provider, BoundSubscription]:
    """The subscription that is called ``topic/name``, or ``name`` where that is enough."""
    found = [
        (placement.provider, bound)
        for placement in service.placements.topics.values()
        for _, bound in placement.subscriptions.values()
        if name in (bound.name, bound.source)
    ]
    if len(found) == 1:
        return found[0]
    known = [
        bound.source
        for placement in service.placements.topics.values()
        for _, bound in placement.subscriptions.values()
    ]
    problem = "there is no subscription" if not found else "there are several subscriptions"
    raise ConfigurationError(f"{problem} {name!r}\n    mend: write one of {', '.join(sorted(known)) or 'none'}")


@asynccontextmanager
async def administrator_of(provider: Provider, seconds: float = WORK_SECONDS) -> AsyncIterator[Administrator]:
    """For the time of a block, which has an end: a broker may accept connections and say nothing.

    Raises:
        BrokerUnavailable: it took longer than ``seconds``, or as the administrator says.
    """
    from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable

    try:
        async with asyncio.timeout(seconds):
            administrator = await provider.open_administrator()
            try:
                yield administrator
            finally:
                await administrator.close()
    except (BrokerUnavailable, BrokerForbidden) as error:
        raise type(error)(f"provider {provider.name!r}: {error}") from error
    except TimeoutError as error:
        raise BrokerUnavailable(f"provider {provider.name!r}: no answer within {seconds:g} s") from error
