"""What tests of the whole room share: the service of the declared topics, run as the runtime runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastlane.pubsub.service import PubSubService
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Surroundings

__all__ = ["serving"]


@asynccontextmanager
async def serving(
    configuration: ResourceConfiguration | None = None, *, start: bool = True, **surroundings: Any
) -> AsyncIterator[PubSubService]:
    """Check, prepare, open and start; then drain and close. In mode ``test`` by default."""
    service = PubSubService(configuration or ResourceConfiguration(), Surroundings(**{"mode": "test", **surroundings}))
    assert list(service.check()) == []
    try:
        service.receive(await service.prepare())
        await service.open()
        if start:
            await service.start()
        yield service
        await service.drain(5.0)
    finally:
        await service.close()
