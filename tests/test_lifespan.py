import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

from fastlane import App, CallNext, CompileError, Depends, FrozenAppError, Request, Response, State
from fastlane.testing import TestClient


class Resources:
    def __init__(self, name: str = "r") -> None:
        self.name = name


def test_what_the_lifespan_yields_is_found_by_its_type() -> None:
    order: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[Resources]:
        order.append(f"start {app.title}")
        yield Resources("pool")
        order.append("stop")

    app = App(title="Blog", lifespan=lifespan)

    @app.get("/")
    async def handler(resources: Annotated[Resources, State()]) -> str:
        return resources.name

    with TestClient(app) as client:
        assert client.get("/").text == "pool"
        assert order == ["start Blog"]
    assert order == ["start Blog", "stop"]
    assert app.context.state is None


def test_a_generator_function_without_parameters_will_do() -> None:
    async def lifespan() -> AsyncIterator[Resources]:
        yield Resources()

    app = App(lifespan=lifespan)
    with TestClient(app) as client:
        client.get("/")
        assert isinstance(app.context.state, Resources)


def test_what_is_no_context_manager_is_refused() -> None:
    async def lifespan(app: App) -> None:
        raise AssertionError

    with pytest.raises(CompileError, match="async context manager"):
        App(lifespan=lifespan)  # type: ignore[arg-type]
    with pytest.raises(CompileError, match="async context manager"):
        App(lifespan=3)  # type: ignore[arg-type]


def test_app_scoped_dependencies_open_after_and_close_before_the_lifespan() -> None:
    order: list[str] = []

    async def lifespan() -> AsyncIterator[Resources]:
        order.append("lifespan")
        yield Resources("dsn")
        order.append("lifespan end")

    async def pool(resources: Annotated[Resources, State()]) -> AsyncIterator[str]:
        order.append("pool")
        yield f"pool of {resources.name}"
        order.append("pool end")

    def cache(pool: Annotated[str, Depends(pool, scope="app")]) -> Iterator[str]:
        order.append("cache")
        yield f"cache of {pool}"
        order.append("cache end")

    app = App(lifespan=lifespan)

    @app.get("/")
    async def handler(cache: Annotated[str, Depends(cache, scope="app")]) -> str:
        return cache

    with TestClient(app) as client:
        assert client.get("/").text == client.get("/").text == "cache of pool of dsn"
    assert order == ["lifespan", "pool", "cache", "cache end", "pool end", "lifespan end"]


def test_overriding_an_app_scoped_dependency_opens_it_anew() -> None:
    order: list[str] = []

    def pool() -> Iterator[str]:
        order.append("open")
        yield "real"
        order.append("close")

    def other() -> str:
        return "other"

    app = App()

    @app.get("/")
    async def handler(pool: Annotated[str, Depends(pool, scope="app")]) -> str:
        return pool

    @app.get("/other")
    async def other_handler(value: Annotated[str, Depends(other)]) -> str:
        return value

    with TestClient(app) as client:
        assert client.get("/").text == "real"
        with client.override(other, lambda: "x"):
            assert client.get("/").text == "real"
            assert order == ["open"]
        with client.override(pool, lambda: "fake"):
            assert client.get("/").text == "fake"
        assert client.get("/").text == "real"
    assert order == ["open", "close", "open", "close"]


def test_a_start_that_fails_undoes_what_succeeded() -> None:
    order: list[str] = []

    async def lifespan() -> AsyncIterator[None]:
        order.append("start")
        try:
            yield
        finally:
            order.append("stop")

    def broken() -> str:
        raise OSError("no database")

    app = App(lifespan=lifespan)

    @app.get("/")
    async def handler(pool: Annotated[str, Depends(broken, scope="app")]) -> str:
        raise AssertionError

    with pytest.raises(OSError, match="no database"), TestClient(app):
        raise AssertionError
    assert order == ["start", "stop"]
    assert not app.lifespan.running


def test_a_lifespan_freezes_the_app_before_it_starts() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        app.get("/late")(handler)
        yield

    async def handler() -> str:
        raise AssertionError

    with pytest.raises(FrozenAppError), TestClient(App(lifespan=lifespan)):
        raise AssertionError


def test_the_lifespan_of_an_app_runs_once_at_a_time() -> None:
    app = App()

    async def main() -> None:
        await app.lifespan.start()
        with pytest.raises(RuntimeError, match="running already"):
            await app.lifespan.start()
        await app.lifespan.stop()
        await app.lifespan.start()
        await app.lifespan.stop()

    asyncio.run(main())


def run_protocol(app: App) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(messages)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await app({"type": "lifespan"}, receive, send)

    asyncio.run(run())
    return sent


def test_the_protocol_says_that_both_are_complete() -> None:
    assert [message["type"] for message in run_protocol(App())] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_a_failed_start_is_said_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    assert run_protocol(App(lifespan=lifespan)) == [
        {"type": "lifespan.startup.failed", "message": "OSError: no database"}
    ]
    assert "the app does not start" in caplog.text


def test_a_failed_stop_is_said_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise OSError("can't close")

    assert run_protocol(App(lifespan=lifespan))[1] == {
        "type": "lifespan.shutdown.failed",
        "message": "OSError: can't close",
    }
    assert "does not stop cleanly" in caplog.text


def test_a_compile_error_at_the_freeze_is_a_failed_start(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    namespace: dict[str, Any] = {}
    exec("async def handler(x: 'Never') -> str: return x", namespace)
    app.get("/")(namespace["handler"])

    (message,) = run_protocol(app)

    assert message["type"] == "lifespan.startup.failed"
    assert "Never" in message["message"]
    assert "CompileError" in caplog.text or "UnresolvedName" in caplog.text


@pytest.mark.parametrize("where", ["start", "stop"])
def test_a_cancellation_passes(where: str) -> None:
    async def lifespan() -> AsyncIterator[None]:
        if where == "start":
            raise asyncio.CancelledError
        yield
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_protocol(App(lifespan=lifespan))


def counting(order: list[str]) -> App:
    async def lifespan(app: App) -> AsyncIterator[list[int]]:
        order.append("up")
        yield []
        order.append("down")

    app = App(lifespan=lifespan)

    @app.get("/")
    async def count(hits: Annotated[list[int], State()]) -> int:
        hits.append(1)
        return len(hits)

    return app


def test_clients_at_the_same_time_have_a_lifespan_each() -> None:
    order: list[str] = []
    app = counting(order)

    with TestClient(app) as one, TestClient(app) as two:
        assert [one.get("/").json(), one.get("/").json(), two.get("/").json()] == [1, 2, 1]
    with TestClient(app) as three:
        assert three.get("/").json() == 1

    assert order == ["up", "up", "down", "down", "up", "down"]


def test_a_client_that_is_not_closed_is_in_nobody_s_way() -> None:
    order: list[str] = []
    app = counting(order)
    forgotten = TestClient(app)
    assert forgotten.get("/").json() == 1

    with TestClient(app) as client:
        assert client.get("/").json() == 1
    assert forgotten.get("/").json() == 2
    forgotten.close()


def test_middleware_around_a_mount_finds_the_state_of_its_own_lifespan() -> None:
    order: list[str] = []
    app = counting(order)
    seen: list[Any] = []

    @app.middleware
    async def look(request: Request, call_next: CallNext) -> Response[Any]:
        seen.append(request.context.state)
        return await call_next(request)

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await Response("mounted")(scope, receive, send)

    app.mount("/m", mounted)

    with TestClient(app) as one, TestClient(app) as two:
        for client in (one, two):
            client.get("/")
            client.get("/m")

    assert seen[0] is seen[1]
    assert seen[2] is seen[3]
    assert seen[0] is not seen[2]


def test_overriding_opens_the_resources_of_the_client_that_asks() -> None:
    app = App()

    async def real() -> str:
        return "real"

    async def fake() -> str:
        return "fake"

    @app.get("/")
    async def show(value: Annotated[str, Depends(real, scope="app")]) -> str:
        return value

    with TestClient(app) as one, TestClient(app) as two:
        with two.override(real, fake):
            assert (one.get("/").text, two.get("/").text) == ("fake", "fake")
        assert (one.get("/").text, two.get("/").text) == ("real", "real")


def test_a_start_that_fails_leaves_no_state() -> None:
    async def lifespan(app: App) -> AsyncIterator[list[int]]:
        yield []

    app = App(lifespan=lifespan)

    async def broken() -> str:
        raise OSError("no broker")

    @app.get("/")
    async def show(value: Annotated[str, Depends(broken, scope="app")]) -> str:
        return value

    with pytest.raises(OSError, match="no broker"), TestClient(app):
        pass
    assert app.context.state is None


def test_a_server_without_lifespan_state_has_one_lifespan_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    app = counting([])

    async def second() -> list[str]:
        answers: list[str] = []

        async def receive() -> dict[str, Any]:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            answers.append(message["type"])

        await app({"type": "lifespan"}, receive, send)
        return answers

    with TestClient(app):
        assert asyncio.run(second()) == ["lifespan.startup.failed"]
    assert "running already" in caplog.text
