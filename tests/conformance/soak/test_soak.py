"""Nothing lost: numbered messages through a served app, its workers killed, its connections reset and swallowed."""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastlane.errors import Unavailable
from fastlane.pubsub.service import PubSubService
from fastlane.resources.configuration import ResourceConfiguration
from fastlane.resources.surroundings import Surroundings
from tests.conformance.brokers import CHOSEN, Broker
from tests.conformance.soak.served import Served
from tests.servers.relay import Relay

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHOSEN == ["memory", "local"], reason="soaks run with make conformance"),
]

COUNTS = {"local": 20_000, "nsq": 20_000, "postgres": 20_000, "gcp": 5_000, "aws": 1_000}
KEYS = 20
PATIENCE = 300
"""Seconds until what is published must be confirmed, and what was confirmed be handled."""


class Soak:
    """The publisher's side, and the faults.

    Attributes:
        confirmed: numbers that the broker has confirmed.
    """

    def __init__(self, count: int, topic: Any, numbered: Any) -> None:
        self.count = count
        self.confirmed = 0
        self._topic = topic
        self._numbered = numbered

    async def publish(self) -> None:
        """Every number once, and again where the outcome is unknown. Of a key one after the other."""
        await asyncio.gather(*(self._publish_key(key) for key in range(KEYS)))

    async def _publish_key(self, key: int) -> None:
        numbers = list(range(key, self.count, KEYS))
        # All of a chunk are published again where the outcome of one is unknown: few, where the broker is slow.
        chunk = max(10, self.count // 400)
        for start in range(0, len(numbers), chunk):
            events = [self._numbered(f"k{key}", number) for number in numbers[start : start + chunk]]
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    await self._topic.publish_many(events)
                    break
                except Unavailable:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.2)
            self.confirmed += len(events)


async def at(soak: Soak, share: float, fault: Callable[[], Awaitable[None] | None]) -> None:
    """Do ``fault`` when so much of the messages has been published."""
    while soak.confirmed < soak.count * share:
        await asyncio.sleep(0.01)
    done = fault()
    if done is not None:
        await done


async def test_nothing_is_lost_and_nothing_out_of_order(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broker.kind == "memory":
        pytest.skip("the broker in memory ends with its process")
    count, ordered = COUNTS[broker.kind], broker.capabilities.ordering
    random.seed(count)
    async with Relay(broker.host, broker.port) as relay, AsyncExitStack() as stack:
        address = relay.address if broker.port else None
        options = broker.options(address)
        document = {
            "providers": {"broker": options},
            # An emulator on a busy machine takes its time, and what is given up is published once more.
            "pubsub": {"provider": "broker", "publish_timeout": 30},
            **broker.document(address),
        }
        served = Served(
            tmp_path,
            _toml(document),
            ordered=ordered,
            ack_deadline=broker.ack_deadline,
            database=options.get("database"),
        )
        for name in ("SOAK_LOG", "SOAK_ORDERED", "SOAK_ACK_DEADLINE"):
            monkeypatch.setenv(name, served.environment[name])
        module = importlib.import_module("tests.conformance.soak.numbered")
        module = importlib.reload(module)
        if broker.kind != "local":
            await asyncio.to_thread(served.provision)
        await asyncio.to_thread(served.__enter__)
        service = PubSubService(
            msgspec.convert(document, ResourceConfiguration), Surroundings(mode="script", boot_timeout=30.0)
        )
        assert service.check() == []
        await stack.enter_async_context(broker.ready())
        await service.open()
        soak = Soak(count, module.topic, module.Numbered)

        async def swallow() -> None:
            relay.mode = "hold"
            await asyncio.sleep(4)
            relay.mode = "pass"

        async def leave() -> None:
            async with broker.away():
                await asyncio.sleep(2)

        def kill() -> None:
            served.kill_worker()

        faults: list[tuple[float, Callable[[], Awaitable[None] | None]]] = [(0.1, kill), (0.45, kill), (0.8, kill)]
        if broker.port:
            faults += [(0.2, relay.reset), (0.3, swallow), (0.55, relay.reset), (0.65, leave), (0.9, relay.reset)]
        try:
            await asyncio.gather(soak.publish(), *(at(soak, share, fault) for share, fault in faults))
            end = time.monotonic() + PATIENCE
            while len(set(served.handled())) < count:
                assert time.monotonic() < end, f"{count - len(set(served.handled()))} of {count} are missing"
                await asyncio.sleep(0.2)
        finally:
            await service.close()
            await asyncio.to_thread(served.__exit__)
    handled = served.handled()
    times = Counter(handled)
    again = f"{len(handled) - count} of {count} messages were handled again, one {max(times.values())} times"
    logging.getLogger("soak").info("%s: %s", broker.kind, again)
    assert set(handled) == {(f"k{number % KEYS}", number) for number in range(count)}
    if ordered:
        for key in range(KEYS):
            firsts = list(dict.fromkeys(number for name, number in handled if name == f"k{key}"))
            assert firsts == sorted(firsts), f"key {key} is out of order"


def _toml(document: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [
        f"{key} = {msgspec.json.encode(value).decode()}"
        for key, value in document.items()
        if not isinstance(value, dict)
    ]
    lines += [_toml(value, (*path, key)) for key, value in document.items() if isinstance(value, dict)]
    return "\n".join(lines)
