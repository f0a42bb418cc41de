from __future__ import annotations

import asyncio
import logging

import pytest

from fastlane import App, PlainTextResponse
from fastlane.server.health import HealthDoor, add_health
from fastlane.server.readiness import Readiness
from tests.server.lane import Connection


async def plain(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"plain"})


def served(readiness: Readiness | None = None, app: App | None = None, **options) -> Connection:
    """A fastlane app with both paths."""
    app = app or App()
    add_health(app.table, "/healthz", "/readyz", readiness or Readiness())
    return Connection(app, **options)


async def get(connection: Connection, path: str, method: str = "GET") -> tuple[int, bytes]:
    answer = await connection.send(f"{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def test_alive_and_ready():
    async def run():
        connection = served()
        for _ in range(2):  # the second time the head is remembered
            assert await get(connection, "/healthz") == (200, b"alive\n")
            assert await get(connection, "/readyz") == (200, b"ready\n")
        assert await get(connection, "/healthz", "HEAD") == (200, b"")

    asyncio.run(run())


def test_a_probe_is_told_at_every_request_and_stores_nothing():
    async def run():
        readiness = Readiness()
        connection = served(readiness)
        answer = await connection.send(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n")
        assert b"cache-control: no-store\r\n" in answer
        readiness.is_stopping = True
        assert await get(connection, "/readyz") == (503, b"not ready: stopping\n")
        assert await get(connection, "/healthz") == (200, b"alive\n")

    asyncio.run(run())


def test_the_checks_of_the_app_are_asked():
    app = App()

    @app.readiness
    async def database() -> bool:
        return False

    async def run():
        return await get(served(Readiness(app.readiness_checks), app), "/readyz")

    assert asyncio.run(run()) == (503, b"not ready: database\n")


@pytest.mark.parametrize("catches_all", [False, True])
def test_a_route_of_the_app_wins(caplog, catches_all):
    app = App()

    if catches_all:

        @app.get("/{rest:path}")
        async def everything(rest: str) -> PlainTextResponse:
            return PlainTextResponse("mine")
    else:

        @app.get("/healthz")
        async def own() -> PlainTextResponse:
            return PlainTextResponse("mine")

    async def run():
        return await get(served(app=app), "/healthz")

    with caplog.at_level(logging.WARNING, "fastlane.server"):
        assert asyncio.run(run()) == (200, b"mine")
    assert "the application itself answers /healthz" in caplog.text


def test_a_mount_of_the_app_wins(caplog):
    app = App()
    app.mount("/", plain)
    with caplog.at_level(logging.WARNING, "fastlane.server"):
        add_health(app.table, "/healthz", None, Readiness())
    assert b"GET /healthz" not in app.table.exact
    assert "the application itself answers /healthz" in caplog.text


def test_middleware_and_dependencies_have_no_part_in_it():
    async def refuse(request, call_next):
        raise AssertionError("asked")

    async def run():
        return await get(served(app=App(middleware=[refuse])), "/healthz")

    assert asyncio.run(run()) == (200, b"alive\n")


def test_an_app_behind_asgi_middleware_has_both():
    app = App()
    app.add_asgi_middleware(lambda inner: inner)

    async def run():
        return [await get(served(app=app), path) for path in ("/healthz", "/readyz")]

    assert asyncio.run(run()) == [(200, b"alive\n"), (200, b"ready\n")]


def test_any_other_application_has_both_in_front_of_it():
    async def run():
        readiness = Readiness()
        connection = Connection(HealthDoor(plain, "/healthz", "/readyz", readiness), root_path="/shop")
        found = [await get(connection, path) for path in ("/healthz", "/readyz", "/", "/healthz/more")]
        found.append(await get(connection, "/healthz", "DELETE"))
        readiness.is_stopping = True
        found.append(await get(connection, "/readyz"))
        return found

    other = (200, b"plain")
    assert asyncio.run(run()) == [
        (200, b"alive\n"),
        (200, b"ready\n"),
        other,
        other,
        other,
        (503, b"not ready: stopping\n"),
    ]


def test_one_path_may_be_left_out():
    async def run():
        connection = Connection(HealthDoor(plain, None, "/readyz", Readiness()))
        return await get(connection, "/healthz"), await get(connection, "/readyz")

    assert asyncio.run(run()) == ((200, b"plain"), (200, b"ready\n"))
