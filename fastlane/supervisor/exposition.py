"""Prometheus' text format, 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fastlane.supervisor.ledger import WORK_TOTALS, Ledger, Tally
from fastlane.supervisor.scoreboard import LATENCY_BOUNDS, Scoreboard, Slot

if TYPE_CHECKING:
    from fastlane.supervisor.insight import Row

__all__ = ["exposed"]

Sample = tuple[str, float]
"""Labels, braces included, and the value."""


def exposed(rows: list[Row], ledger: Ledger, board: Scoreboard, is_ready: bool, has_latencies: bool) -> str:
    """The metrics of the whole tree.

    A worker is called by its place, 0 to workers - 1, which its successors inherit: counters never go down, and a
    gauge is the sum over a place's old and new worker while one replaces the other.
    """
    text = "".join(_plain(rows, ledger, is_ready)) + "".join(_work(rows, ledger))
    return text + "".join(_latencies(ledger, board)) if has_latencies else text


def _plain(rows: list[Row], ledger: Ledger, is_ready: bool) -> Iterator[str]:
    states: dict[str, int] = {}
    requests = {index: tally.requests for index, tally in ledger.tallies}
    connections: dict[int, int] = {}
    in_flight: dict[int, int] = {}
    memory: dict[int, int] = {}
    for row in rows:
        index = row["worker"]
        states[row["state"]] = states.get(row["state"], 0) + 1
        requests[index] = requests.get(index, 0) + row["requests"]
        connections[index] = connections.get(index, 0) + row["connections"]
        in_flight[index] = in_flight.get(index, 0) + row["in_flight"]
        memory[index] = memory.get(index, 0) + row["rss"]
    restarts = [(index, tally.restarts) for index, tally in ledger.tallies]
    yield _metric("ready", "gauge", "Whether the server should get requests.", [("", int(is_ready))])
    by_state = [(f'{{state="{state}"}}', count) for state, count in sorted(states.items())]
    yield _metric("workers", "gauge", "Worker processes.", by_state)
    yield _metric("requests_total", "counter", "Requests answered.", _by_worker(requests.items()))
    yield _metric("requests_in_flight", "gauge", "Tasks that answer requests.", _by_worker(in_flight.items()))
    yield _metric("connections", "gauge", "Open connections.", _by_worker(connections.items()))
    yield _metric(
        "worker_resident_memory_bytes", "gauge", "Resident memory, shared pages included.", _by_worker(memory.items())
    )
    yield _metric("worker_restarts_total", "counter", "Workers that died unasked.", _by_worker(restarts))


_MEANINGS = {
    "handled": ("messages_handled_total", "Messages whose handler succeeded."),
    "failed": ("messages_failed_total", "Attempts to handle a message that failed."),
    "dead": ("messages_dead_total", "Messages that went to the dead letters."),
    "running": ("messages_running", "Handlers of messages that run."),
    "outgoing": ("messages_outgoing", "Published messages that no broker has confirmed yet."),
    "unreachable": ("subscriptions_unreachable", "Subscriptions whose broker can't be reached at the moment."),
}


def _work(rows: list[Row], ledger: Ledger) -> Iterator[str]:
    """Messages; nothing where no worker has any to do with them."""
    for name, (metric, meaning) in _MEANINGS.items():
        counts = {index: tally.work[name] for index, tally in ledger.tallies if name in tally.work}
        for row in rows:
            if name in row["work"]:
                counts[row["worker"]] = counts.get(row["worker"], 0) + row["work"][name]
        if counts:
            kind = "counter" if name in WORK_TOTALS else "gauge"
            yield _metric(metric, kind, meaning, _by_worker(counts.items()))


def _latencies(ledger: Ledger, board: Scoreboard) -> Iterator[str]:
    counts = [0] * (len(LATENCY_BOUNDS) + 1)
    seconds = 0.0
    slots = [board.slot(number) for number in range(board.capacity)]
    sources: list[Tally | Slot] = [*(tally for _, tally in ledger.tallies), *slots]
    for source in sources:
        counts = [before + more for before, more in zip(counts, source.latencies, strict=True)]
        seconds += source.latency_sum
    name = "request_duration_seconds"
    yield _header(name, "histogram", "From a request's head to the end of its answer.")
    total = 0
    for bound, count in zip((*LATENCY_BOUNDS, "+Inf"), counts, strict=True):
        total += count
        yield f'fastlane_{name}_bucket{{le="{bound}"}} {total}\n'
    yield f"fastlane_{name}_sum {seconds:.6f}\nfastlane_{name}_count {total}\n"


def _by_worker(values: Iterable[tuple[int, float]]) -> list[Sample]:
    return [(f'{{worker="{index}"}}', value) for index, value in sorted(values)]


def _header(name: str, kind: str, meaning: str) -> str:
    return f"# HELP fastlane_{name} {meaning}\n# TYPE fastlane_{name} {kind}\n"


def _metric(name: str, kind: str, meaning: str, samples: Iterable[Sample]) -> str:
    return _header(name, kind, meaning) + "".join(f"fastlane_{name}{labels} {value}\n" for labels, value in samples)
