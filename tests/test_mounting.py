import asyncio
from typing import Any

import pytest

from fastlane import App, CallNext, CompileError, Request, Response, Router, WebSocket
from fastlane.testing import TestClient


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers where it stands and what it was sent."""
    data = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if not message.get("more_body"):
            break
    text = f"{scope['method']} {scope['root_path']} {scope['path']} {scope['raw_path'].decode()} {data.decode()}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Own", b"1")]})
    await send({"type": "http.response.body", "body": text.encode()[:5], "more_body": True})
    await send({"type": "http.response.body", "body": text.encode()[5:]})


async def stamp(request: Request, call_next: CallNext) -> Response[Any]:
    response = await call_next(request)
    response.headers["x-stamp"] = str(response.status)
    return response


@pytest.mark.parametrize("middleware", [[], [stamp]])
def test_a_mounted_application_finds_its_root_path(middleware: Any) -> None:
    app = App(middleware=middleware)
    app.mount("/admin", echo)

    with TestClient(app) as client:
        assert client.get("/admin").text == "GET /admin /admin /admin "
        assert client.post("/admin/a%20b", content="body").text == "POST /admin /admin/a b /admin/a%20b body"
        assert client.get("/administrator").status == 404


def test_a_router_puts_its_prefix_and_middleware_around_a_mount() -> None:
    app, router = App(), Router("/v1", middleware=[stamp])
    router.mount("/admin/", echo)
    app.include(router)

    with TestClient(app) as client:
        response = client.get("/v1/admin/x")

    assert response.text.startswith("GET /v1/admin /v1/admin/x")
    assert response.headers["x-stamp"] == "200"
    assert response.headers["x-own"] == "1"


def test_a_fastlane_app_can_be_mounted_and_routes_below_its_root() -> None:
    inner, middle, outer = App(), App(), App()

    @inner.get("/posts/{id}")
    async def get_post(id: int) -> int:
        return id

    @inner.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.path)

    middle.mount("/inner", inner)
    outer.mount("/middle", middle)
    outer.middleware(stamp)

    with TestClient(outer) as client:
        assert client.get("/middle/inner/posts/3").json() == 3
        assert client.get("/middle/inner/none").status == 404
        with client.websocket_connect("/middle/inner/ws") as websocket:
            assert websocket.receive_text() == "/middle/inner/ws"


def test_routes_websockets_and_mounts_are_listed_apart() -> None:
    app, router = App(), Router("/v1")
    app.include(router)
    router.mount("/admin", echo)

    @router.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        raise AssertionError

    @router.get("/")
    async def home() -> str:
        raise AssertionError

    assert [route.path for route in app.routes] == ["/v1/"]
    assert [route.path for route in app.websocket_routes] == ["/v1/ws"]
    assert [mount.path for mount in app.mounts] == ["/v1/admin"]


def test_a_mount_has_no_variables() -> None:
    with pytest.raises(CompileError, match="has variables"):
        App().mount("/{tenant}", echo)


def test_a_mount_at_the_root_takes_what_is_left() -> None:
    app = App()
    app.mount("/", echo)

    with TestClient(app) as client:
        assert client.get("/x").text == "GET  /x /x "


def test_middleware_may_answer_instead_of_a_mount_or_drop_its_answer() -> None:
    ended: list[str] = []

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            ended.append("ended")

    async def replace(request: Request, call_next: CallNext) -> Response[Any]:
        if request.head.query_string:
            await call_next(request)
        return Response("replaced")

    app = App(middleware=[replace])
    app.mount("/m", endless)

    with TestClient(app) as client:
        assert client.get("/m").text == "replaced"
        assert ended == []
        assert client.get("/m?x").text == "replaced"
        assert ended == ["ended"]


def test_a_background_task_of_the_middleware_runs_after_a_mount() -> None:
    from fastlane import BackgroundTasks

    done: list[int] = []

    async def later(request: Request, call_next: CallNext) -> Response[Any]:
        response = await call_next(request)
        response.background = BackgroundTasks()
        response.background.add(done.append, 1)
        return response

    app = App(middleware=[later])
    app.mount("/m", echo)

    with TestClient(app) as client:
        client.get("/m")
    assert done == [1]


async def raising(scope: Any, receive: Any, send: Any) -> None:
    raise KeyError("secret")


async def silent(scope: Any, receive: Any, send: Any) -> None: ...


async def disorderly(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("application", "logged"),
    [
        (raising, "KeyError: 'secret'"),
        (silent, "returned without an answer"),
        (disorderly, "before 'http.response.start'"),
    ],
)
def test_a_mounted_application_that_fails_inside_middleware_is_a_500(
    application: Any, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(middleware=[stamp])
    app.mount("/m", application)

    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get("/m")

    assert (response.status, response.headers["x-stamp"]) == (500, "500")
    assert "secret" not in response.text
    assert logged in caplog.text


def test_a_mounted_application_that_fails_after_its_start_raises_to_the_server() -> None:
    async def halfway(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise OSError("halfway")

    app = App(middleware=[stamp])
    app.mount("/m", halfway)

    with TestClient(app) as client, pytest.raises(OSError, match="halfway"):
        client.get("/m")


def test_an_application_that_resists_its_end_is_ended() -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            await asyncio.Event().wait()
        finally:
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await send({"type": "http.response.body", "body": b"b"})

    async def drop(request: Request, call_next: CallNext) -> Response[Any]:
        await call_next(request)
        return Response("dropped")

    app = App(middleware=[drop])
    app.mount("/m", stubborn)

    with TestClient(app) as client:
        assert client.get("/m").text == "dropped"


def test_a_second_call_of_a_mount_fails_instead_of_waiting_for_the_body_again(caplog: pytest.LogCaptureFixture) -> None:
    async def again(request: Request, call_next: CallNext) -> Response[Any]:
        await call_next(request)
        return await call_next(request)

    app = App(middleware=[again])
    app.mount("/m", echo)

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/m").status == 500
    assert "call_next() was called twice" in caplog.text
