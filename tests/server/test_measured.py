from __future__ import annotations

import asyncio

import pytest

from fastlane import App
from fastlane.server import measured as module
from fastlane.server.config import LaneConfig
from fastlane.server.latencies import Latencies
from fastlane.server.measured import MeasuredProtocol
from fastlane.server.protocol import LaneProtocol
from fastlane.supervisor.scoreboard import LATENCY_BOUNDS
from tests.server.lane import Transport


def app() -> App:
    app = App()

    @app.get("/at_once")
    async def at_once() -> str:
        return "hi"

    @app.get("/later")
    async def later() -> str:
        await asyncio.sleep(0)
        return "hi"

    return app


async def plain(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def measure(served, path: str, times: int) -> Latencies:
    """The latencies after so many requests on one connection."""

    async def run() -> Latencies:
        from uvicorn.server import ServerState

        state = ServerState()
        config = LaneConfig(served, metrics=True, access_log=False)
        config.load()
        assert config.http_protocol_class is MeasuredProtocol
        protocol = MeasuredProtocol(config, state, {}, asyncio.get_running_loop())
        transport = Transport()
        protocol.connection_made(transport)
        for _ in range(times):
            protocol.data_received(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            while state.tasks:
                await asyncio.sleep(0)
        assert transport.written.count(b"HTTP/1.1 20") == times == state.total_requests
        protocol.connection_lost(None)
        assert config.latencies is not None
        return config.latencies

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/at_once", "/later"])
def test_every_answer_is_measured_the_remembered_ones_too(path):
    latencies = measure(app(), path, 5)
    assert sum(latencies.counts) == 5
    assert latencies.seconds > 0


def test_another_application_is_measured_too():
    assert sum(measure(plain, "/", 3).counts) == 3


def test_the_time_is_from_the_head_to_the_end_of_the_answer(monkeypatch):
    clock = iter([10.0, 10.3, 20.0, 20.3])
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    latencies = measure(app(), "/at_once", 2)
    assert latencies.seconds == pytest.approx(0.6)
    assert latencies.counts[LATENCY_BOUNDS.index(0.5)] == 2


def test_a_bound_belongs_to_what_is_below_it():
    latencies = Latencies()
    for seconds in (0.0, LATENCY_BOUNDS[0], LATENCY_BOUNDS[-1], LATENCY_BOUNDS[-1] + 1):
        latencies.add(seconds)
    assert (latencies.counts[0], latencies.counts[-2], latencies.counts[-1]) == (2, 1, 1)


def test_nothing_is_measured_unless_it_is_asked_for():
    config = LaneConfig(plain)
    config.load()
    assert config.http_protocol_class is LaneProtocol
    assert config.latencies is None
