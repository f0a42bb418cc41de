"""A kind of resource as small as can be: a shelf of words, with a real service that tells its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fastlane.errors import ConfigurationError
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.declaration import Kind, Place, Resource, declared_resources
from fastlane.resources.service import Service
from fastlane.resources.surroundings import Role, Surroundings

__all__ = ["Shelf", "ShelfService", "behaviour"]

behaviour: dict[str, Callable[[ShelfService], Any]] = {}
"""What a test lets a step do, by the step's name."""


class Shelf(Resource[list[str]]):
    kind: ClassVar[Kind] = "topic"

    def __init__(self, name: str = "shelf") -> None:
        super().__init__(name, Place.of_caller())

    @property
    def words(self) -> list[str]:
        return self.binding


class ShelfService(Service):
    name = "shelves"
    role: ClassVar[Role | None] = "subscriptions"
    steps: ClassVar[list[str]] = []
    """What all of them did, the newest last."""

    def __init__(self, configuration: ResourceConfiguration, surroundings: Surroundings) -> None:
        super().__init__(configuration, surroundings)
        self.report: Any = None

    async def _do(self, step: str) -> Any:
        self.steps.append(step)
        found = behaviour.get(step, lambda _: None)(self)
        return await found if hasattr(found, "__await__") else found

    def check(self) -> Sequence[str]:
        self.steps.append("check")
        shelves = declared_resources(Shelf)
        return [f"shelf {name}: topics.{name} is missing" for name in shelves if name.startswith("missing")]

    async def prepare(self) -> object:
        await self._do("prepare")
        options = self.configuration.pubsub.topics.get("shelf")
        return {"mode": self.surroundings.mode, "name": None if options is None else options.name}

    def receive(self, report: object) -> None:
        self.steps.append("receive")
        self.report = report

    async def open(self) -> None:
        for shelf in declared_resources(Shelf).values():
            shelf.bind([f"{key} {value}" for key, value in self.report.items()])
        await self._do("open")

    async def start(self) -> None:
        await self._do("start")

    async def drain(self, timeout: float) -> None:
        await self._do("drain")

    async def close(self) -> None:
        for shelf in declared_resources(Shelf).values():
            shelf.unbind()
        await self._do("close")

    async def settle(self) -> None:
        await self._do("settle")


class OtherService(ShelfService):
    """Of another kind: databases."""

    name = "others"
    role = None

    def check(self) -> Sequence[str]:
        raise ConfigurationError("database blog is declared twice")
