"""A very small broker: one queue with leases, three ways to keep the order of keys, and faults when they are wanted."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.clock import Clock
from fastlane.pubsub.envelope import DeadLetter, Delivery
from fastlane.pubsub.provider import Administrator, BoundSubscription, Provider, Publisher, Source

Order = Literal["none", "heads", "groups", "loose"]
"""``heads``: nothing of a key behind an unsettled message (SQLite, PostgreSQL); ``groups``: several of a key at once,
but none while any of it is leased or delayed (SQS FIFO); ``loose``: more of a key to who has the earlier ones, and a
message that waits for its next attempt holds nothing back (Google)."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, int, asyncio.Handle, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, asyncio.get_running_loop())
        heapq.heappush(self._timers, (when, next(self._numbers), handle, lambda: callback(*args)))
        return handle

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, one timer after the other."""
        end = self.now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= end:
            when, _, handle, call = heapq.heappop(self._timers)
            if not handle.cancelled():
                self.now = max(self.now, when)
                call()
                await settle()
        self.now = end
        await settle()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(40):
        await asyncio.sleep(0)


class Entry:
    def __init__(self, number: int, id: str, payload: bytes, key: str | None, attributes: dict[str, str]) -> None:
        self.number = number
        self.id = id
        self.payload = payload
        self.key = key
        self.attributes = attributes
        self.visible_at = 0.0
        self.attempt = 0
        self.receives = 0
        self.token = 0  # of the lease; 0: none
        self.holder: object = None
        self.leased_until = 0.0


class Broker:
    """The queue of one subscription, with everything that happened to it."""

    def __init__(self, clock: Clock | None = None, *, order: Order = "none", ack_deadline: float = 30.0) -> None:
        self.clock = clock
        self.order = order
        self.ack_deadline = ack_deadline
        self.entries: dict[int, Entry] = {}
        self.dead: list[DeadLetter] = []
        self.acked: list[str] = []
        self.calls: list[str] = []
        self.limits: list[int] = []
        self.extended: list[str] = []
        self.released: list[str] = []
        self.delays: list[tuple[str, float]] = []
        self.faults: dict[str, list[BaseException]] = {}
        self.broken: dict[str, BaseException] = {}
        self.gate: dict[str, asyncio.Event] = {}
        self.closed = 0
        self.lock = threading.RLock()  # several workers, each with a thread of its own
        self._numbers = itertools.count(1)
        self._tokens = itertools.count(1)
        self._changed: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def now(self) -> float:
        return self.clock.time() if self.clock is not None else asyncio.get_running_loop().time()

    def publish(self, payload: bytes, *, key: str | None = None, attributes: dict[str, str] | None = None) -> str:
        with self.lock:
            number = next(self._numbers)
            entry = Entry(number, f"m{number}", payload, key, attributes or {})
            self.entries[number] = entry
        self.poke()
        return entry.id

    def poke(self) -> None:
        """Somebody may find something."""
        for loop, event in list(self._changed):
            loop.call_soon_threadsafe(event.set)

    def revoke(self, id: str) -> None:
        """The lease is lost: the message is there for everybody again."""
        with self.lock:
            for entry in self.entries.values():
                if entry.id == id:
                    entry.token = 0
        self.poke()

    def leased(self) -> list[str]:
        with self.lock:
            return [entry.id for entry in self.entries.values() if entry.token]

    def _free(self, entry: Entry) -> bool:
        if entry.token and entry.leased_until <= self.now:
            entry.token = 0
        return not entry.token and entry.visible_at <= self.now

    def _behind(self, entry: Entry) -> list[Entry]:
        return [e for e in self.entries.values() if e.key == entry.key and e.number < entry.number]

    def claim(self, limit: int, holder: object) -> list[Entry]:
        with self.lock:
            return self._claim(limit, holder)

    def _claim(self, limit: int, holder: object) -> list[Entry]:
        found: list[Entry] = []
        for entry in list(self.entries.values()):
            if len(found) == limit:
                break
            if not self._free(entry):
                continue
            if entry.key is not None and self.order != "none":
                earlier = self._behind(entry)
                if self.order == "heads" and earlier:
                    continue
                if self.order == "groups" and any(e not in found for e in earlier):
                    continue
                if self.order == "loose" and any(
                    (e.token and e.holder is not holder) or (not e.token and e.visible_at <= self.now)
                    for e in earlier
                    if e not in found
                ):
                    continue
            found.append(entry)
        for entry in found:
            entry.token = next(self._tokens)
            entry.holder = holder
            entry.leased_until = self.now + self.ack_deadline
            entry.attempt += 1
            entry.receives += 1
        return found

    async def enter(self, call: str) -> None:
        self.calls.append(call)
        if call in self.gate:
            await self.gate[call].wait()
        if call in self.broken:
            raise self.broken[call]
        if self.faults.get(call):
            raise self.faults[call].pop(0)

    def held(self, delivery: Delivery) -> Entry | None:
        number, token = delivery.lease
        entry = self.entries.get(number)
        if entry is None or entry.token != token or entry.leased_until <= self.now:
            return None
        return entry

    # What a Source does

    async def receive(self, limit: int, holder: object) -> list[Delivery]:
        event = asyncio.Event()
        watched = (asyncio.get_running_loop(), event)
        self._changed.append(watched)
        try:
            while True:
                await self.enter("receive")
                event.clear()
                found = self.claim(limit, holder)
                if found:
                    self.limits.append(limit)
                    return [self._delivery(entry) for entry in found]
                await self._wait(event)
        finally:
            self._changed.remove(watched)

    async def _wait(self, event: asyncio.Event) -> None:
        with self.lock:
            later = [max(e.visible_at, e.leased_until if e.token else 0.0) for e in self.entries.values()]
        timer = None
        due = [when for when in later if when > self.now]
        if due:
            clock = self.clock or asyncio.get_running_loop()
            timer = clock.call_at(min(due) + 0.001, event.set)
        try:
            await event.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _delivery(self, entry: Entry) -> Delivery:
        return Delivery(
            entry.id,
            f"b{entry.number}",
            entry.payload,
            entry.attributes,
            entry.key,
            EPOCH,
            entry.attempt,
            entry.receives,
            (entry.number, entry.token),
        )

    async def ack(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        await self.enter("ack")
        with self.lock:
            lost = []
            for delivery in deliveries:
                entry = self.held(delivery)
                if entry is None:
                    lost.append(delivery)
                else:
                    del self.entries[entry.number]
                    self.acked.append(entry.id)
            self.poke()
            return lost

    async def retry(self, delivery: Delivery, delay: float) -> None:
        await self.enter("retry")
        with self.lock:
            entry = self.held(delivery)
            if entry is not None:
                entry.token = 0
                entry.visible_at = self.now + delay
                self.delays.append((entry.id, delay))
            self.poke()

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self.enter("release")
        with self.lock:
            for delivery in deliveries:
                entry = self.held(delivery)
                if entry is not None:
                    entry.token = 0
                    entry.attempt -= 1
                    self.released.append(entry.id)
            self.poke()

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> list[Delivery]:
        await self.enter("extend")
        with self.lock:
            lost = []
            for delivery in deliveries:
                entry = self.held(delivery)
                if entry is None:
                    lost.append(delivery)
                else:
                    entry.leased_until = self.now + seconds
                    self.extended.append(entry.id)
            return lost

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        await self.enter("dead_letter")
        with self.lock:
            self.dead.append(letter)
            entry = self.held(delivery)
            if entry is not None:
                del self.entries[entry.number]
            self.poke()


class TinySource(Source):
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def receive(self, limit: int) -> Sequence[Delivery]:
        return await self.broker.receive(limit, self)

    async def ack(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        return await self.broker.ack(deliveries)

    async def retry(self, delivery: Delivery, delay: float) -> None:
        await self.broker.retry(delivery, delay)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        await self.broker.release(deliveries)

    async def extend(self, deliveries: Sequence[Delivery], seconds: float) -> Sequence[Delivery]:
        return await self.broker.extend(deliveries, seconds)

    async def dead_letter(self, delivery: Delivery, letter: DeadLetter) -> None:
        await self.broker.dead_letter(delivery, letter)

    async def close(self) -> None:
        await self.broker.enter("close")
        self.broker.closed += 1


class TinyProvider(Provider):
    """Threaded, unless it is given a clock."""

    capabilities = Capabilities(
        ordering=True, blocks_key=True, exactly_once=False, exact_attempts=True, ordered_delay=True
    )

    def __init__(self, broker: Broker, **changes: Any) -> None:
        super().__init__("tiny", None)
        self.broker = broker
        self.clock = broker.clock
        self.in_process = broker.clock is not None  # type: ignore[misc]
        values = {name: getattr(type(self).capabilities, name) for name in Capabilities.__struct_fields__}
        values |= {"blocks_key": broker.order != "loose"} | changes
        self.capabilities = Capabilities(**values)  # type: ignore[misc]

    async def open_publisher(self) -> Publisher:
        raise NotImplementedError

    async def open_source(self, subscription: BoundSubscription) -> Source:
        await self.broker.enter("open")
        return TinySource(self.broker)

    async def open_administrator(self) -> Administrator:
        raise NotImplementedError
