"""What every side does: publish one after the other, with 64 in flight, work off a backlog, all at once, and slowly."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from msgspec import Struct, json

__all__ = ["IN_FLIGHT", "MOST_CONCURRENT", "Effort", "Event", "Side", "percentile", "work"]

IN_FLIGHT = 64
MOST_CONCURRENT = 100
PER_SECOND = 100

Handler = Callable[["Event"], Awaitable[None]]


class Event(Struct):
    """What is published: about 200 bytes of JSON."""

    number: int
    sent: float
    kind: str = "signup"
    note: str = "x" * 120


decode = json.Decoder(Event).decode
encode = json.Encoder().encode


class Effort(Struct):
    """How long everything may take.

    Attributes:
        seconds: of each way to publish.
        most: messages of each.
        patience: seconds that what was published may take to be handled.
        latency: seconds of a hundred messages each.
    """

    seconds: float = 1.5
    most: int = 30_000
    patience: float = 15.0
    latency: float = 2.0


class Side(abc.ABC):
    """fastlane, or a client library by itself, on one topic with one subscription.

    Attributes:
        batches: how 64 are in flight: calls side by side, each of so many messages.
        streams: waits for messages, rather than to work off what there is.
    """

    batches: ClassVar[tuple[int, ...]] = (1,) * IN_FLIGHT
    streams: ClassVar[bool] = True

    @abc.abstractmethod
    async def open(self) -> None:
        """Make topic and subscription, and be ready to publish."""

    @abc.abstractmethod
    async def publish(self, events: list[Event]) -> None:
        """Answers when the broker has confirmed them all."""

    @abc.abstractmethod
    async def consume(self, handle: Handler) -> None:
        """Begin to call ``handle`` with what comes, up to 100 at a time, and acknowledge it."""

    @abc.abstractmethod
    async def close(self) -> None: ...


class Meter:
    """Wall and CPU time of this process, all its threads included."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def of(self, messages: int) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return {"messages": messages, "per_second": messages / wall, "cpu_us": cpu / max(1, messages) * 1e6}


class Counter:
    """A handler that counts, and wakes who waits for a number."""

    def __init__(self) -> None:
        self.count = 0
        self.latencies: list[float] = []
        self._wanted = -1
        self._reached = asyncio.Event()

    async def handle(self, event: Event) -> None:
        if event.sent:
            self.latencies.append(time.perf_counter() - event.sent)
        self.count += 1
        if self.count == self._wanted:
            self._reached.set()

    async def wait(self, count: int, patience: float) -> None:
        """Until so many were handled; or not, and then ``count`` says how many."""
        self._wanted = count
        self._reached.clear()
        if self.count >= count:
            return
        try:
            async with asyncio.timeout(patience):
                await self._reached.wait()
        except TimeoutError:
            pass


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


async def one_by_one(side: Side, effort: Effort) -> int:
    end, count = time.perf_counter() + effort.seconds, 0
    while time.perf_counter() < end and count < effort.most:
        await side.publish([Event(count, 0.0)])
        count += 1
    return count


async def side_by_side(side: Side, effort: Effort) -> int:
    end, count = time.perf_counter() + effort.seconds, 0

    async def lane(batch: int) -> None:
        nonlocal count
        while time.perf_counter() < end and count < effort.most:
            count += batch
            await side.publish([Event(count, 0.0) for _ in range(batch)])

    await asyncio.gather(*map(lane, side.batches))
    return count


async def backlog(side: Side, effort: Effort) -> dict[str, dict[str, float]]:
    """Publishing alone, then consuming alone."""
    await side.open()
    found: dict[str, dict[str, float]] = {}
    try:
        await side.publish([Event(0, 0.0)])  # connections are opened
        # First the many: what comes then finds everything warm.
        meter = Meter()
        many = await side_by_side(side, effort)
        found["in_flight"] = meter.of(many)
        meter = Meter()
        few = await one_by_one(side, effort)
        found["one_by_one"] = meter.of(few)
        counter = Counter()
        meter = Meter()
        await side.consume(counter.handle)
        await counter.wait(1 + many + few, effort.patience)
        found["consume"] = meter.of(counter.count)
    finally:
        await side.close()
    return found


async def stream(side: Side, effort: Effort) -> dict[str, dict[str, float]]:
    """Publishing and consuming at the same time, as fast as it goes; then a hundred a second."""
    await side.open()
    found: dict[str, dict[str, float]] = {}
    try:
        counter = Counter()
        await side.consume(counter.handle)
        await side.publish([Event(0, 0.0)])
        await counter.wait(1, effort.patience)
        meter = Meter()
        published = await side_by_side(side, effort)
        await counter.wait(1 + published, effort.patience)
        found["end_to_end"] = meter.of(counter.count - 1)
        found["latency"] = await latency(side, counter, effort)
    finally:
        await side.close()
    return found


async def latency(side: Side, counter: Counter, effort: Effort) -> dict[str, float]:
    """Milliseconds from the call of publish to the handler's start. Nobody waits for the publish before."""
    total = max(1, round(effort.latency * PER_SECOND))
    before, started = counter.count, time.perf_counter()
    publishing: set[asyncio.Task[None]] = set()
    for number in range(total):
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
        task = asyncio.ensure_future(side.publish([Event(number, time.perf_counter())]))
        publishing.add(task)
        task.add_done_callback(publishing.discard)
    await asyncio.gather(*publishing)
    await counter.wait(before + total, effort.patience)
    found = [1e3 * each for each in counter.latencies]
    if not found:
        return {"messages": 0}
    return {"messages": len(found), "p50_ms": percentile(found, 0.5), "p99_ms": percentile(found, 0.99)}


async def work(make: Callable[[str], Side], effort: Effort) -> dict[str, dict[str, float]]:
    """All of it, with a topic for each half."""
    found = await backlog(make("backlog"), effort)
    side = make("stream")
    if side.streams:
        found |= await stream(side, effort)
    return found
