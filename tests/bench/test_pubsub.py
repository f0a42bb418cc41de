"""The benchmark of brokers: that a side does what is measured, and how it is judged."""

import asyncio
import tomllib
from pathlib import Path

import msgspec
import pytest

from bench.pubsub import effort_of, main, said
from bench.pubsub_bare import SIDES
from bench.pubsub_bare.local import Sqlite
from bench.pubsub_brokers import BROKERS
from bench.pubsub_fastlane import Fastlane
from bench.pubsub_report import Found, figures_of, judged, pubsub_section
from bench.pubsub_work import Effort, Event, Handler, Side, percentile, work
from fastlane.resources.configuration import ResourceConfiguration

SMALL = Effort(seconds=0.05, most=100, patience=5.0, latency=0.05)


class Queue(Side):
    """A broker that loses every tenth message, if told to."""

    batches = (4, 4, 4, 4)

    def __init__(self, loses: bool = False) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.loses, self.task = loses, None

    async def open(self) -> None: ...

    async def publish(self, events: list[Event]) -> None:
        await asyncio.sleep(0)
        for event in events:
            if not (self.loses and event.number % 10 == 9):
                self.events.put_nowait(event)

    async def consume(self, handle: Handler) -> None:
        async def run() -> None:
            while True:
                await handle(await self.events.get())

        self.task = asyncio.ensure_future(run())

    async def close(self) -> None:
        assert self.task is not None
        self.task.cancel()


def test_every_part_is_measured():
    found = asyncio.run(work(lambda _: Queue(), SMALL))

    assert list(found) == ["in_flight", "one_by_one", "consume", "end_to_end", "latency"]
    assert found["consume"]["messages"] == 1 + found["one_by_one"]["messages"] + found["in_flight"]["messages"]
    assert found["end_to_end"]["messages"] >= 1
    assert 0 < found["latency"]["p50_ms"] <= found["latency"]["p99_ms"]


def test_a_broker_that_loses_messages_is_waited_for_so_long_and_no_longer():
    found = asyncio.run(work(lambda _: Queue(loses=True), msgspec.structs.replace(SMALL, patience=0.1)))

    assert found["consume"]["messages"] < 1 + found["one_by_one"]["messages"] + found["in_flight"]["messages"]


def test_sqlite_alone_works_off_what_there_is(tmp_path: Path):
    found = asyncio.run(work(lambda part: Sqlite(part, str(tmp_path / "bare.db")), SMALL))

    assert list(found) == ["in_flight", "one_by_one", "consume"]
    assert found["consume"]["messages"] == 1 + found["one_by_one"]["messages"] + found["in_flight"]["messages"]


def test_every_side_has_64_in_flight():
    assert {sum(side.batches) for side in [Fastlane, *SIDES.values()]} == {64}
    assert {name for broker in BROKERS for name in broker.bare} == set(SIDES)


def test_local_is_measured_with_full_durability(tmp_path: Path):
    (local,) = (broker for broker in BROKERS if broker.kind == "local")
    with local.start(tmp_path) as running:
        read = msgspec.convert(tomllib.loads(running.configuration), ResourceConfiguration)

    assert read.providers["broker"].durability == "full"
    assert read.pubsub.provider == "broker"


@pytest.mark.parametrize(("part", "expected"), [(0.5, 3), (0.99, 5), (0.0, 1)])
def test_a_percentile_is_one_of_the_values(part: float, expected: float):
    assert percentile([5, 3, 1, 4, 2], part) == expected


def measured(rate: float, cpu: float) -> dict[str, dict[str, float]]:
    values = {"messages": 100, "per_second": rate, "cpu_us": cpu}
    return {"one_by_one": values, "in_flight": values, "consume": values, "latency": {"p50_ms": 1.5, "p99_ms": 3}}


def test_the_bars_are_rates_ratios_and_differences():
    found = Found()
    for rate in (19_000, 25_000, 26_000):
        found.add("local", "fastlane", measured(rate, 10))
    found.add("aws", "fastlane", measured(80, 500))
    found.add("aws", "aiobotocore", measured(100, 400))
    found.add("nsq", "fastlane", measured(80, 9.5))
    found.add("nsq", "raw", measured(100, 1.0))
    found.add("nsq", "ansq", measured(100, 12.0))
    figures = figures_of(found)
    verdicts = {bar.text: bar.verdict for bar in judged(found)}

    assert figures["local_in_flight"] == 25_000
    assert figures["aws_in_flight"] == pytest.approx(0.8)
    assert figures["nsq_consume"] == pytest.approx(8.5)
    assert verdicts["local: publishes/s with 64 in flight ≥ 20,000"] == "pass"
    assert verdicts["aws: publishes/s with 64 in flight, fastlane / bare client ≥ 0.85"] == "FAIL"
    assert verdicts["nsq: CPU µs of a message received, fastlane − raw loop ≤ 8"] == "FAIL"
    assert verdicts["gcp: messages/s end to end, fastlane / bare client ≥ 0.85"] == "not measured"


def test_the_section_has_every_side_and_what_failed():
    found = Found(versions={"nsq": "nsqd 1.3.0"}, failed={"gcp": "there is no Java"})
    found.add("nsq", "fastlane", measured(80, 9.5))
    found.add("nsq", "raw", measured(100, 1.0))
    text = pubsub_section(found, judged(found), 1, "today")

    assert "| **NSQ: fastlane** | 80 |" in text
    assert "| NSQ: raw | 100 |" in text
    assert "1.50 / 3.00" in text
    assert "- not measured: gcp: there is no Java" in text
    assert "in_flight 80/s 9.5 µs" in said(found.rounds["nsq"]["fastlane"][0])


def test_quick_is_short():
    assert effort_of(quick=True).seconds < effort_of(quick=False).seconds


def test_an_unknown_broker_ends_with_2_and_the_kinds_there_are(capsys: pytest.CaptureFixture[str]):
    assert main(["--only", "kafka"]) == 2
    assert "local, nsq, aws, gcp, postgres" in capsys.readouterr().err
