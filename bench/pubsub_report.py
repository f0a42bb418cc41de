"""The benchmark of brokers as a section of the page, and its bars."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.bars import Bar, Judged, judge_figures
from bench.pubsub_brokers import BROKERS, Broker
from bench.report import bars_table, machine, number, table

__all__ = ["PUBSUB_BARS", "Found", "figures_of", "pubsub_section"]

Measured = Mapping[str, Mapping[str, float]]

PUBSUB_BARS: tuple[Bar, ...] = (
    Bar("local_in_flight", "local: publishes/s with 64 in flight ≥ 20,000", 20_000, least=True),
    Bar("local_one_by_one", "local: publishes/s one after the other ≥ 3,000", 3_000, least=True),
    Bar("local_p50", "local: publish to handler at 100/s, p50 ms ≤ 2", 2.0),
    *(
        Bar(f"{kind}_{part}", f"{kind}: {title}, fastlane / bare client ≥ 0.85", 0.85, least=True)
        for kind in ("aws", "gcp")
        for part, title in (
            ("one_by_one", "publishes/s one after the other"),
            ("in_flight", "publishes/s with 64 in flight"),
            ("end_to_end", "messages/s end to end"),
        )
    ),
    Bar("nsq_consume", "nsq: CPU µs of a message received, fastlane − raw loop ≤ 8", 8.0),
    Bar("nsq_in_flight", "nsq: CPU µs of a message published, 64 in flight, fastlane − raw loop ≤ 8", 8.0, kind="aim"),
    Bar("nsq_consume_ansq", "nsq: CPU µs of a message received, fastlane − ansq ≤ 8", 8.0),
    Bar("nsq_in_flight_ansq", "nsq: CPU µs of a message published, 64 in flight, fastlane − ansq ≤ 8", 8.0),
)


@dataclass
class Found:
    """By broker and side, what each round found.

    Attributes:
        versions: of each broker.
        failed: why a broker or a side was not measured.
    """

    rounds: dict[str, dict[str, list[Measured]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, side: str, measured: Measured) -> None:
        self.rounds.setdefault(kind, {}).setdefault(side, []).append(measured)

    def median(self, kind: str, side: str, part: str, value: str) -> float | None:
        values = [
            measured[part][value]
            for measured in self.rounds.get(kind, {}).get(side, [])
            if value in measured.get(part, {})
        ]
        return statistics.median(values) if values else None


def figures_of(found: Found) -> dict[str, float]:
    """The figures of the bars."""
    figures: dict[str, float | None] = {
        "local_in_flight": found.median("local", "fastlane", "in_flight", "per_second"),
        "local_one_by_one": found.median("local", "fastlane", "one_by_one", "per_second"),
        "local_p50": found.median("local", "fastlane", "latency", "p50_ms"),
    }
    for kind, bare in (("aws", "aiobotocore"), ("gcp", "gcloud-aio")):
        for part in ("one_by_one", "in_flight", "end_to_end"):
            ours, theirs = (found.median(kind, side, part, "per_second") for side in ("fastlane", bare))
            if ours is not None and theirs is not None:
                figures[f"{kind}_{part}"] = ours / theirs
    for part in ("consume", "in_flight"):
        ours = found.median("nsq", "fastlane", part, "cpu_us")
        for side, suffix in (("raw", ""), ("ansq", "_ansq")):
            theirs = found.median("nsq", side, part, "cpu_us")
            if ours is not None and theirs is not None:
                figures[f"nsq_{part}{suffix}"] = ours - theirs
    return {key: value for key, value in figures.items() if value is not None}


def judged(found: Found) -> list[Judged]:
    return judge_figures(figures_of(found), PUBSUB_BARS)


def row(found: Found, broker: Broker, side: str) -> list[str]:
    def cell(part: str, value: str, digits: int) -> str:
        return number(found.median(broker.kind, side, part, value), digits)

    name = f"**{broker.title}: fastlane**" if side == "fastlane" else f"{broker.title}: {side}"
    return [
        name,
        cell("one_by_one", "per_second", 0),
        cell("in_flight", "per_second", 0),
        cell("consume", "per_second", 0),
        cell("end_to_end", "per_second", 0),
        f"{cell('latency', 'p50_ms', 2)} / {cell('latency', 'p99_ms', 2)}",
        cell("in_flight", "cpu_us", 1),
        cell("consume", "cpu_us", 1),
        cell("end_to_end", "cpu_us", 1),
    ]


HEAD = (
    "messages/s",
    "published one by one",
    "64 in flight",
    "backlog received",
    "end to end",
    "p50 / p99 ms at 100/s",
    "CPU µs: published",
    "received",
    "end to end",
)


def pubsub_section(found: Found, bars: Sequence[Judged], rounds: int, date: str) -> str:
    facts = machine()
    introduction = (
        f"Measured on {date} by `make bench-pubsub`: {facts['cpu']}, {facts['memory']}, {facts['kernel']}, Python "
        f"{facts['python']}. Events of 200 bytes of JSON; one process publishes and consumes, pinned to one core, the "
        f"broker on another (local: both cores, and no other process); at most 100 handlers at a time; medians of "
        f"{rounds} rounds. Beside fastlane the bare client library with the same number in flight, batches and "
        "decoding: without ids, attributes, leases, retries, dead letters, or anything else that the framework does. "
        "CPU is that of the process, all threads included; the broker's is not in it, but where that is SQLite. "
        "`raw` is the least that speaks NSQ's protocol, written by hand."
    )
    rows = [
        row(found, broker, side)
        for broker in BROKERS
        for side in ("fastlane", *broker.bare)
        if side in found.rounds.get(broker.kind, {})
    ]
    lines = ["# Brokers", "", introduction, "", *table(HEAD, rows), "", "## Bars of brokers", "", *bars_table(bars)]
    lines += ["", "## Versions of brokers", "", *(f"- {kind}: {version}" for kind, version in found.versions.items())]
    lines += [f"- not measured: {what}: {reason.splitlines()[-1]}" for what, reason in found.failed.items()]
    return "\n".join(lines) + "\n"
