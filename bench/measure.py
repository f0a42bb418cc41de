"""The rounds: every peer started anew, every scenario with every peer in turn, one measurement each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.load import Load, LoadFailed, run_load
from bench.peers import BUILD, Peer
from bench.processes import cpu_seconds, pss_bytes
from bench.scenarios import SCENARIOS, Scenario
from bench.server import Server, ServerFailed
from bench.verify import verify

__all__ = ["Plan", "Results", "Sample", "measure"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long and how much. Seconds are of one measurement; each is preceded by a warm-up of its own."""

    rounds: int = 3
    seconds: float = 3.0
    warm_up: float = 1.0
    connections: int = 150
    tool: str = "wrk"
    server_cores: frozenset[int] = frozenset({1})
    load_cores: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Sample:
    """One measurement of one peer in one scenario.

    Attributes:
        cpu: microseconds of user and system time of the server's whole tree, per answered request.
        busy: the part of the server's core that was in use; well below 1, the generator was the limit.
        p50, p99: milliseconds.
    """

    cpu: float
    per_second: float
    p50: float
    p99: float
    busy: float
    requests: int
    errors: int


@dataclass
class Results:
    """What a run found. Keys are names of peers and of scenarios.

    Attributes:
        cold_start: seconds, one a round.
        pss: bytes after the last scenario of a round.
        failed: why a peer was not measured, in all (scenario ``""``) or in one scenario.
    """

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    cold_start: dict[str, list[float]] = field(default_factory=dict)
    pss: dict[str, list[int]] = field(default_factory=dict)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, peer: str, scenario: str, sample: Sample) -> None:
        self.samples.setdefault(peer, {}).setdefault(scenario, []).append(sample)

    def fail(self, peer: str, scenario: str, reason: str) -> None:
        self.failed.setdefault(peer, {}).setdefault(scenario, reason)

    def has_failed(self, peer: str, scenario: str) -> bool:
        reasons = self.failed.get(peer, {})
        return "" in reasons or scenario in reasons

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def sample_of(load: Load, cpu: float, elapsed: float) -> Sample:
    """
    Args:
        cpu: seconds that the server's tree used from before the load until after it.
        elapsed: seconds of the load alone, as the generator says.
    """
    return Sample(
        cpu=cpu / load.requests * 1e6,
        per_second=load.per_second,
        p50=load.p50,
        p99=load.p99,
        busy=cpu / elapsed,
        requests=load.requests,
        errors=load.errors,
    )


def port_of(server: Server, scenario: Scenario) -> int:
    # Only the floor, which knows no paths, has a port for each scenario of its own benchmark.
    return server.port(SCENARIOS.index(scenario) if scenario in SCENARIOS else 0)


def measure_once(server: Server, scenario: Scenario, plan: Plan) -> Sample:
    port = port_of(server, scenario)

    def load(seconds: float) -> Load:
        return run_load(
            plan.tool,
            scenario,
            port,
            connections=scenario.connections or plan.connections,
            seconds=seconds,
            cores=set(plan.load_cores),
            directory=BUILD / "bench",
        )

    load(plan.warm_up)
    before = cpu_seconds(server.pid)
    measured = load(plan.seconds)
    used = cpu_seconds(server.pid) - before
    if measured.requests == 0:
        raise LoadFailed("no request was answered")
    sample = sample_of(measured, used, measured.seconds)
    if sample.errors:
        raise LoadFailed(f"{sample.errors} of {sample.requests} requests failed\n{server.log_tail(4)}")
    return sample


def start(peer: Peer, plan: Plan, results: Results, logs: Path) -> Server | None:
    try:
        server = Server(peer, set(plan.server_cores), logs)
    except (ServerFailed, OSError) as error:
        results.fail(peer.name, "", str(error))
        return None
    results.cold_start.setdefault(peer.name, []).append(server.cold_start)
    return server


def check(server: Server, scenarios: Sequence[Scenario], results: Results) -> None:
    peer = server.peer
    results.versions.setdefault(peer.name, peer.versions())
    for scenario in scenarios:
        problems = verify(scenario, port_of(server, scenario), validates=peer.validates)
        if problems:
            results.fail(peer.name, scenario.name, "; ".join(problems))


def measure(peers: Sequence[Peer], scenarios: Sequence[Scenario], plan: Plan, say: Say) -> Results:
    """Runs all rounds. A peer that fails is said and left out; the others go on."""
    results = Results()
    order = random.Random(3)
    logs = BUILD / "bench" / "logs"
    for peer in peers:
        if not peer.installed:
            results.fail(peer.name, "", f"not installed: {peer.install}")
    for round_number in range(1, plan.rounds + 1):
        candidates = [peer for peer in peers if not results.has_failed(peer.name, "")]
        servers: list[Server] = []
        try:
            for peer in candidates:
                server = start(peer, plan, results, logs)
                if server is not None:
                    servers.append(server)
            if round_number == 1:
                for server in servers:
                    check(server, scenarios, results)
            for scenario in scenarios:
                # Nobody always follows the same neighbour.
                order.shuffle(servers)
                for server in servers:
                    name = server.peer.name
                    if results.has_failed(name, scenario.name):
                        continue
                    try:
                        sample = measure_once(server, scenario, plan)
                    except LoadFailed as error:
                        results.fail(name, scenario.name, str(error))
                        say(f"round {round_number} {scenario.name:<10} {name:<12} {error}")
                        continue
                    results.add(name, scenario.name, sample)
                    say(
                        f"round {round_number} {scenario.name:<10} {name:<12} {sample.cpu:7.2f} µs/request "
                        f"{sample.per_second:9.0f}/s  p50 {sample.p50:6.2f}  p99 {sample.p99:6.2f} ms  "
                        f"busy {sample.busy:4.0%}"
                    )
            for server in servers:
                results.pss.setdefault(server.peer.name, []).append(pss_bytes(server.pid))
        finally:
            for server in servers:
                server.stop()
    for peer_name, reasons in results.failed.items():
        for scenario_name, reason in reasons.items():
            say(f"not measured: {peer_name} {scenario_name}: {reason}")
    say(f"done at {time.strftime('%H:%M:%S')}")
    return results
