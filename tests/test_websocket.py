from typing import Any

import msgspec
import pytest

from fastlane import App, CompileError, Router, Unauthenticated, WebSocket, WebSocketDisconnect
from fastlane.testing import TestClient, WebSocketDenied


def client_of(handler: Any, path: str = "/ws") -> TestClient:
    app = App()
    app.websocket(path)(handler)
    return TestClient(app)


def test_text_bytes_and_json_go_both_ways() -> None:
    class Point(msgspec.Struct):
        x: int

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.send_bytes(await websocket.receive_bytes())
        await websocket.send_json(await websocket.receive_json(Point))
        await websocket.send_json(await websocket.receive_json())

    with client_of(handler) as client, client.websocket_connect("/ws") as websocket:
        websocket.send_text("a")
        assert websocket.receive_text() == "a"
        websocket.send_bytes(b"b")
        assert websocket.receive_bytes() == b"b"
        websocket.send_json({"x": 1})
        assert websocket.receive_json(Point) == Point(1)
        websocket.send_bytes(b"[1]")
        assert websocket.receive_json() == [1]
        with pytest.raises(WebSocketDisconnect) as caught:
            websocket.receive_text()
        assert caught.value.code == 1000


def test_iteration_ends_when_the_peer_goes() -> None:
    seen: list[object] = []

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            seen.append(text)
        seen.append("gone")

    with client_of(handler) as client:
        with client.websocket_connect("/ws") as websocket:
            websocket.send_text("a")
            websocket.send_text("b")
        assert seen == ["a", "b", "gone"]


def test_iteration_of_bytes_ends_likewise() -> None:
    seen: list[object] = []

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        async for data in websocket.iter_bytes():
            seen.append(data)

    with client_of(handler) as client, client.websocket_connect("/ws") as websocket:
        websocket.send_bytes(b"a")
    assert seen == [b"a"]


def test_variables_of_the_path_are_arguments() -> None:
    async def handler(websocket: WebSocket, room: int, rest: str) -> None:
        await websocket.accept()
        await websocket.send_json([room, rest, websocket.path_params])

    with client_of(handler, "/rooms/{room}/{rest:path}") as client:
        with client.websocket_connect("/rooms/3/a/b") as websocket:
            assert websocket.receive_json() == [3, "a/b", {"room": "3", "rest": "a/b"}]
        with pytest.raises(WebSocketDenied), client.websocket_connect("/rooms/x/a"):
            raise AssertionError


def test_headers_query_and_subprotocols_are_readable() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept(websocket.subprotocols[0])
        await websocket.send_json([websocket.headers["x-a"], websocket.query_params["q"], websocket.headers["cookie"]])

    with client_of(handler) as client:
        client.cookies["c"] = "1"
        with client.websocket_connect(
            "/ws", params={"q": "ö"}, headers={"x-a": "A"}, subprotocols=["chat"]
        ) as websocket:
            assert websocket.accepted_subprotocol == "chat"
            assert websocket.receive_json() == ["A", "ö", "c=1"]


def test_the_handshake_has_cookies_a_client_and_headers_of_its_own() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept(headers={"X-Room": "1"})
        await websocket.send_json([websocket.cookies, websocket.client])

    with client_of(handler) as client:
        client.cookies["session"] = "s1"
        with client.websocket_connect("/ws") as websocket:
            assert websocket.headers["x-room"] == "1"
            assert websocket.receive_json() == [{"session": "s1"}, ["testclient", 50000]]


def test_an_http_error_before_the_handshake_is_its_answer() -> None:
    async def handler(websocket: WebSocket) -> None:
        raise Unauthenticated("who are you?", headers={"www-authenticate": "Cookie"})

    with client_of(handler) as client, pytest.raises(WebSocketDenied) as caught, client.websocket_connect("/ws"):
        raise AssertionError
    response = caught.value.response
    assert response is not None
    assert (response.status, response.json()["detail"]) == (401, "who are you?")
    assert response.headers["www-authenticate"] == "Cookie"


def test_an_http_error_after_the_handshake_is_an_exception_like_any_other() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        raise Unauthenticated("too late")

    client = client_of(handler)
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/ws") as websocket:
        websocket.receive_text()
    assert caught.value.code == 1011


def test_closing_before_the_handshake_refuses_it() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.close(4001, "no")

    with client_of(handler) as client, pytest.raises(WebSocketDenied) as caught, client.websocket_connect("/ws"):
        raise AssertionError
    assert caught.value.code == 4001
    assert caught.value.response is None


def test_a_closing_code_and_reason_arrive() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(4000, "enough")
        await websocket.close(4001)

    with client_of(handler) as client, client.websocket_connect("/ws") as websocket:
        with pytest.raises(WebSocketDisconnect) as caught:
            websocket.receive_text()
        assert (caught.value.code, caught.value.reason) == (4000, "enough")


def test_an_exception_closes_with_1011_and_reaches_the_server() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        raise KeyError("secret")

    def connect(client: TestClient) -> None:
        with client.websocket_connect("/ws") as websocket:
            with pytest.raises(WebSocketDisconnect) as caught:
                websocket.receive_text()
            assert (caught.value.code, caught.value.reason) == (1011, "")

    with client_of(handler) as client, pytest.raises(KeyError):
        connect(client)


def test_an_exception_after_the_close_is_only_raised() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()
        raise KeyError

    with client_of(handler) as client, pytest.raises(KeyError), client.websocket_connect("/ws"):
        pass


def test_a_message_of_the_other_kind_is_refused() -> None:
    problems: list[str] = []

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        for receive in (websocket.receive_text, websocket.receive_bytes):
            try:
                await receive()
            except ValueError as error:
                problems.append(str(error))

    with client_of(handler) as client, client.websocket_connect("/ws") as websocket:
        websocket.send_bytes(b"x")
        websocket.send_text("x")
    assert problems == ["the message is binary, not text", "the message is text, not binary"]


def test_receiving_before_accept_is_a_mistake() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.receive_text()

    with client_of(handler) as client, pytest.raises(RuntimeError, match="accept"), client.websocket_connect("/ws"):
        raise AssertionError


def test_accepting_twice_is_a_mistake() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.accept()

    def connect(client: TestClient) -> None:
        with client.websocket_connect("/ws") as websocket:
            websocket.send_text("x")

    with client_of(handler) as client, pytest.raises(RuntimeError, match=r"expected 'websocket\.connect'"):
        connect(client)


def test_a_router_has_websockets_too() -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()

    app, router = App(), Router("/r")
    router.websocket("/ws", name="socket")(handler)
    app.include(router)

    with TestClient(app) as client, client.websocket_connect("/r/ws"):
        pass


def test_a_name_that_is_defined_later_is_resolved_at_the_freeze() -> None:
    app = App()
    namespace: dict[str, Any] = {"WebSocket": WebSocket}
    exec("async def handler(websocket: WebSocket, n: 'Later') -> None: await websocket.accept()", namespace)
    app.websocket("/{n}")(namespace["handler"])
    assert [error.handler for error in app.compile_errors()] == ["handler"]
    namespace["Later"] = int

    with TestClient(app) as client, client.websocket_connect("/3"):
        pass


async def without_socket(room: int) -> None:
    raise AssertionError


async def without_room(websocket: WebSocket) -> None:
    raise AssertionError


async def with_query(websocket: WebSocket, room: int, q: str) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (without_socket, "no parameter is a WebSocket"),
        (without_room, "'room' has no parameter"),
        (with_query, "takes the WebSocket and scalars of the path"),
    ],
)
def test_a_handler_that_can_not_be_bound_fails_where_it_is_declared(handler: Any, problem: str) -> None:
    with pytest.raises(CompileError, match=problem):
        App().websocket("/{room}")(handler)
