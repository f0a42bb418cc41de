"""The example that looks whether sites answer: with all in this process, and served with what is embedded."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType

import httpx
import pytest

from fastlane.testing import AsyncTestClient
from tests.examples.conftest import ImportExample, ServeExample, fastlane
from tests.processes.served import wait_until

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


class World:
    """A server on loopback that is a site which is watched, and a webhook.

    Attributes:
        status: what the site answers.
        alerts: what the webhook was told.
        refusals: how many alerts it is going to refuse first.
    """

    def __init__(self) -> None:
        self.status = 200
        self.alerts: list[str] = []
        self.refusals = 0
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(world.status)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if world.refusals:
                    world.refusals -= 1
                    self._answer(503)
                else:
                    world.alerts.append(body["text"])
                    self._answer(204)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.site = f"http://127.0.0.1:{self._server.server_port}/site"
        self.webhook = f"http://127.0.0.1:{self._server.server_port}/webhook"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("no_proxy", "*")
    world = World()
    yield world
    world.close()


@pytest.fixture
def uptime(import_example: ImportExample, world: World) -> Iterator[ModuleType]:
    uptime = import_example("uptime")
    with uptime.webhook.override(world.webhook):
        yield uptime


def test_what_goes_down_and_comes_back_is_told_once_each_and_in_order(uptime: ModuleType, world: World) -> None:
    async def watch() -> None:
        async with AsyncTestClient(uptime.app) as client:
            site = (await client.post("/sites", json={"url": world.site})).json()
            assert site["up"] is True
            for minute, status in enumerate((200, 500, 500, 200)):
                world.status = status
                await uptime.check_sites.fire(at=NOON + timedelta(minutes=minute))
            world.refusals = 2
            await client.settle()
            checks = (await client.get(f"/sites/{site['id']}/checks")).json()
            assert [check["problem"] for check in checks] == [None, "status 500", "status 500", None]
            assert [check["at"][:16] for check in checks][-1] == "2026-07-01T12:00"
            (now,) = (await client.get("/sites")).json()
            assert (now["up"], now["since"][:16]) == (True, "2026-07-01T12:03")

    asyncio.run(watch())
    assert world.alerts == [f"{world.site} is down: status 500", f"{world.site} is up again"]


def test_a_tick_that_is_run_again_is_counted_once(uptime: ModuleType, world: World) -> None:
    async def watch() -> None:
        async with AsyncTestClient(uptime.app) as client:
            await client.post("/sites", json={"url": world.site})
            for _ in range(2):
                await uptime.check_sites.fire(at=NOON)
            assert len((await client.get("/sites/1/checks")).json()) == 1

    asyncio.run(watch())


def test_old_checks_are_forgotten_and_those_of_a_site_that_is_removed(uptime: ModuleType, world: World) -> None:
    async def watch() -> None:
        async with AsyncTestClient(uptime.app) as client:
            await client.post("/sites", json={"url": world.site})
            for days in (31, 29):
                await uptime.check_sites.fire(at=datetime.now(UTC) - timedelta(days=days))
            await uptime.forget.fire()
            assert len((await client.get("/sites/1/checks")).json()) == 1
            assert (await client.delete("/sites/1")).status_code == 204
            assert (await client.delete("/sites/1")).status_code == 404
            assert (await client.get("/sites/1/checks")).json() == []

    asyncio.run(watch())


def test_a_site_is_watched_once_and_has_to_be_a_url(uptime: ModuleType, world: World) -> None:
    async def add() -> None:
        async with AsyncTestClient(uptime.app) as client:
            assert (await client.post("/sites", json={"url": world.site})).status_code == 201
            assert (await client.post("/sites", json={"url": world.site})).json()["code"] == "already_exists"
            for url in ("ftp://example.com", "file:///etc/passwd", "http://", ""):
                assert (await client.post("/sites", json={"url": url})).status_code == 422

    asyncio.run(add())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[broken/", "http://127.0.0.1:99999/", "http://a b/"])
def test_a_site_that_can_not_be_reached_at_all_has_a_problem(uptime: ModuleType, world: World, url: str) -> None:
    assert uptime.problem_of(url)


def test_alerts_may_come_back_to_the_app_itself(uptime: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    async def hear() -> None:
        async with AsyncTestClient(uptime.app) as client:
            assert (await client.post("/alerts", json={"text": "x is down"})).status_code == 204

    asyncio.run(hear())
    assert "x is down" in caplog.messages


@pytest.mark.process
def test_it_is_served_with_two_workers_and_nothing_but_what_is_embedded(
    serve_example: ServeExample, world: World
) -> None:
    served = serve_example("uptime", "--embedded", ALERT_WEBHOOK=world.webhook)

    def look() -> None:
        """As the clock does, unless it does so right now."""
        try:
            assert fastlane(served.directory, "cron", "run", "uptime:app", "check-sites", "--embedded") == (
                "check-sites: done\n"
            )
        except AssertionError as error:
            if "another run is live" not in str(error):
                raise
            look()

    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False) as client:
        client.post("/sites", json={"url": world.site}).raise_for_status()
        for status in (200, 500, 200):
            world.status = status
            look()
        wait_until(lambda: len(world.alerts) == 2, 60, "two alerts")
        problems = [check["problem"] for check in client.get("/sites/1/checks").json()]
    assert world.alerts == [f"{world.site} is down: status 500", f"{world.site} is up again"]
    # The clock may have run it, too.
    assert [problem for problem in problems if problem] == ["status 500"] or len(problems) > 3
    assert "check-sites" in fastlane(served.directory, "cron", "history", "uptime:app", "--embedded")
    assert served.stop(30) == 0
    assert "ERROR" not in served.text
