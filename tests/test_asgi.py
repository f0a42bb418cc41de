import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import Struct

from fastlane import App, Request, Response, StreamingResponse, WebSocket

Messages = list[dict[str, Any]]


class Item(Struct):
    name: str


def scope(method: str = "GET", path: str = "/", headers: tuple[tuple[bytes, bytes], ...] = (), **more: Any) -> Any:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        **more,
    }


def exchange(app: App, connection: Any, *incoming: dict[str, Any]) -> tuple[Messages, Messages]:
    """What the app sends, and what it left unread."""
    unread = list(incoming) or [{"type": "http.request"}]
    sent: Messages = []

    async def receive() -> dict[str, Any]:
        return unread.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await app(connection, receive, send)

    asyncio.run(run())
    return sent, unread


def shop() -> App:
    app = App(max_body=20)

    @app.post("/items")
    async def create(item: Item) -> Item:
        return item

    @app.get("/items/{id}")
    async def item(id: str) -> str:
        return id

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(request.raw_body)

    @app.delete("/items/{id}")
    async def delete(id: str) -> None: ...

    @app.get("/cached")
    async def cached() -> Response[None]:
        return Response(None, status=304, headers={"etag": '"1"'})

    return app


JSON = (b"content-type", b"application/json")


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


def test_a_body_may_come_in_pieces_without_a_length() -> None:
    headers = (JSON, (b"transfer-encoding", b"chunked"))

    sent, _ = exchange(
        shop(), scope("POST", "/items", headers), body(b'{"name"', True), body(b':"x"}', True), body(b"")
    )

    assert sent[0]["status"] == 200
    assert sent[1]["body"] == b'{"name":"x"}'


def test_http_2_needs_neither_length_nor_transfer_encoding() -> None:
    sent, _ = exchange(shop(), scope("POST", "/items", (JSON,), http_version="2"), body(b'{"name":"x"}'))

    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((JSON, (b"content-length", b"21")), 413),
        (((b"content-type", b"text/plain"), (b"content-length", b"5")), 415),
        (((b"content-length", b"5"),), 415),
        ((JSON, JSON, (b"content-length", b"5")), 415),
        ((JSON, (b"content-length", b"x")), 400),
        ((JSON, (b"content-length", b"5"), (b"content-length", b"6")), 400),
        ((JSON, (b"expect", b"miracles"), (b"content-length", b"5")), 417),
    ],
)
def test_what_the_head_forbids_is_refused_before_the_body_is_read(headers: Any, status: int) -> None:
    sent, unread = exchange(shop(), scope("POST", "/items", headers), body(b"12345"))

    assert sent[0]["status"] == status
    assert unread == [body(b"12345")]


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/nowhere", 404), ("PATCH", "/items", 405)])
def test_404_and_405_are_answered_before_the_body_is_read(method: str, path: str, status: int) -> None:
    sent, unread = exchange(shop(), scope(method, path, ((b"content-length", b"9999"),)), body(b"x"))

    assert sent[0]["status"] == status
    assert unread == [body(b"x")]


def test_a_body_over_the_limit_is_refused_while_it_is_read() -> None:
    headers = (JSON, (b"transfer-encoding", b"chunked"))

    sent, unread = exchange(
        shop(), scope("POST", "/items", headers), body(b"x" * 15, True), body(b"y" * 15, True), body(b"")
    )

    assert sent[0]["status"] == 413
    assert len(unread) == 1


def test_a_body_of_unknown_length_and_wrong_type_is_refused() -> None:
    headers = ((b"content-type", b"text/plain"), (b"transfer-encoding", b"chunked"))

    assert exchange(shop(), scope("POST", "/items", headers), body(b"x"))[0][0]["status"] == 415


def test_an_empty_body_needs_no_type() -> None:
    headers = ((b"transfer-encoding", b"chunked"),)

    sent, _ = exchange(shop(), scope("POST", "/raw", headers), body(b""))

    assert sent[1]["body"] == b"0"


def test_expect_100_continue_is_met() -> None:
    headers = (JSON, (b"content-length", b"12"), (b"expect", b"100-Continue"))

    assert exchange(shop(), scope("POST", "/items", headers), body(b'{"name":"x"}'))[0][0]["status"] == 200


def test_a_client_that_goes_away_while_the_body_is_read_gets_nothing() -> None:
    headers = (JSON, (b"content-length", b"12"))

    sent, _ = exchange(shop(), scope("POST", "/items", headers), body(b"{", True), {"type": "http.disconnect"})

    assert sent == []


def test_no_content_has_neither_length_nor_body() -> None:
    sent, _ = exchange(shop(), scope("DELETE", "/items/3"))

    assert sent == [
        {"type": "http.response.start", "status": 204, "headers": []},
        {"type": "http.response.body", "body": b""},
    ]


def test_not_modified_has_no_length() -> None:
    sent, _ = exchange(shop(), scope("GET", "/cached"))

    assert sent[0] == {"type": "http.response.start", "status": 304, "headers": [(b"etag", b'"1"')]}


def test_head_has_the_length_and_no_body() -> None:
    sent, _ = exchange(shop(), scope("HEAD", "/items/abc"))

    assert (b"content-length", b"3") in sent[0]["headers"]
    assert sent[1]["body"] == b""


def test_reset_content_says_that_its_length_is_zero() -> None:
    app = App()

    @app.post("/", status=205)
    async def handler() -> None: ...

    sent, _ = exchange(app, scope("POST", "/"))

    assert (sent[0]["status"], sent[0]["headers"]) == (205, [(b"content-length", b"0")])


def test_a_server_without_raw_path_is_served() -> None:
    connection = scope("GET", "/items/é")
    del connection["raw_path"]

    assert exchange(shop(), connection)[0][1]["body"] == "é".encode()


def test_a_handler_can_learn_that_the_client_went_away() -> None:
    app = App()
    seen: list[bool] = []

    @app.get("/")
    async def handler(request: Request) -> str:
        seen.append(await request.is_disconnected())
        return ""

    exchange(app, scope(), {"type": "http.disconnect"})
    exchange(app, scope(), body(b""), {"type": "http.disconnect"})

    assert seen == [True, True]


def test_a_handler_can_ask_again_whether_the_client_is_there() -> None:
    app = App()
    seen: list[bool] = []

    @app.get("/")
    async def handler(request: Request) -> str:
        seen.append(await request.is_disconnected())
        gone.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append(await request.is_disconnected())
        seen.append(await request.is_disconnected())
        return ""

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None: ...

    gone = asyncio.Event()
    asyncio.run(app(scope(), receive, send))

    assert seen == [False, True, True]


def test_waiting_for_a_disconnect_ends_with_the_answer() -> None:
    app = App()

    @app.get("/")
    async def handler(request: Request) -> bool:
        return await request.is_disconnected()

    async def main() -> int:
        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None: ...

        await app(scope(), receive, send)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_a_stream_that_fails_raises_so_that_the_server_can_cut_it() -> None:
    app = App()

    @app.get("/")
    async def handler() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a"
            raise OSError("disk")

        return StreamingResponse(pieces(), media_type="text/plain")

    async def main() -> Messages:
        sent: Messages = []

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        with pytest.raises(OSError, match="disk"):
            await app(scope(), receive, send)
        return sent

    assert [message.get("more_body") for message in asyncio.run(main())] == [None, True]


def test_an_unknown_scope_type_raises() -> None:
    with pytest.raises(ValueError, match="not 'carrier-pigeon'"):
        exchange(App(), {"type": "carrier-pigeon"})


def test_extensions_are_tolerated() -> None:
    sent, _ = exchange(shop(), scope("GET", "/items/a", extensions={"tls": {}, "http.response.pathsend": {}}, state={}))

    assert sent[0]["status"] == 200


@pytest.mark.parametrize(("path", "status"), [("/none", 404), ("/%ff", 400)])
def test_a_websocket_without_a_route_is_denied(path: str, status: int) -> None:
    app = App()
    connection = {"type": "websocket", "path": path, "raw_path": path.encode(), "headers": []}

    closed, _ = exchange(app, connection, {"type": "websocket.connect"})
    denied, _ = exchange(
        app, {**connection, "extensions": {"websocket.http.response": {}}}, {"type": "websocket.connect"}
    )

    assert closed == [{"type": "websocket.close", "code": 1000, "reason": ""}]
    assert denied[0]["type"] == "websocket.http.response.start"
    assert denied[0]["status"] == status


def test_a_bad_request_of_a_websocket_handler_is_not_taken_for_a_bad_path() -> None:
    app = App()

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.query_params

    connection = {
        "type": "websocket",
        "path": "/ws",
        "raw_path": b"/ws",
        "headers": [],
        "query_string": b"%ff",
    }

    from fastlane import BadRequest

    with pytest.raises(BadRequest):
        exchange(app, connection, {"type": "websocket.connect"})
