import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

from fastlane import App, Cookie, Form, Request, Response, State
from fastlane.testing import TestClient


def noting(order: list[str]) -> App:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[list[str]]:
        order.append("start")
        yield order
        order.append("stop")

    app = App(lifespan=lifespan)

    @app.get("/")
    async def handler(state: Annotated[list[str], State()]) -> str:  # type: ignore[type-arg]
        state.append("request")
        return threading.current_thread().name

    return app


def test_pytest_does_not_collect_it() -> None:
    assert TestClient.__test__ is False


def test_the_lifespan_runs_with_the_block() -> None:
    order: list[str] = []
    with TestClient(noting(order)) as client:
        assert order == ["start"]
        client.get("/")
    assert order == ["start", "request", "stop"]


def test_the_lifespan_runs_without_a_block_too_and_ends_with_close() -> None:
    order: list[str] = []
    client = TestClient(noting(order))
    assert order == []
    client.get("/")
    client.get("/")
    assert order == ["start", "request", "request"]
    client.close()
    client.close()
    assert order[-1] == "stop"


def test_the_lifespan_ends_when_nobody_has_the_client() -> None:
    order: list[str] = []
    client = TestClient(noting(order))
    client.get("/")
    del client
    gc.collect()
    assert order == ["start", "request", "stop"]
    assert not [thread for thread in threading.enumerate() if thread.name == "fastlane-testing"]


def test_a_closed_client_starts_anew() -> None:
    order: list[str] = []
    client = TestClient(noting(order))
    for _ in range(2):
        with client:
            assert client.get("/").text == "fastlane-testing"
    assert order == ["start", "request", "stop"] * 2


def test_without_lifespan_nothing_is_started() -> None:
    order: list[str] = []
    with TestClient(noting(order), lifespan=False, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    assert order == []


def test_what_the_start_up_raises_is_raised() -> None:
    async def lifespan() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.raises(OSError, match="no database"), TestClient(App(lifespan=lifespan)):
        raise AssertionError


def test_what_the_shutdown_raises_is_raised() -> None:
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise OSError("can't close")

    client = TestClient(App(lifespan=lifespan))
    client.get("/")
    with pytest.raises(OSError, match="can't close"):
        client.close()


def test_unhandled_exceptions_are_raised_or_answered() -> None:
    app = App()

    @app.get("/")
    async def handler() -> str:
        raise KeyError("x")

    with TestClient(app) as client, pytest.raises(KeyError):
        client.get("/")
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500


def echo() -> App:
    app = App()

    @app.route("/echo", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def handler(request: Request) -> dict[str, Any]:
        headers = {name.decode(): value.decode() for name, value in request.head.header_list()}
        return {
            "method": request.head.method,
            "query": request.head.query_string.decode(),
            "headers": headers,
            "body": request.raw_body.decode(),
        }

    return app


def test_every_method_has_its_function() -> None:
    with TestClient(echo()) as client:
        for method in ("get", "post", "put", "patch", "delete"):
            assert getattr(client, method)("/echo").json()["method"] == method.upper()
        assert client.head("/echo").content == b""
        assert client.options("/echo").status == 204
        assert client.request("get", "/echo").json()["method"] == "GET"


def test_params_join_the_query_of_the_url() -> None:
    with TestClient(echo()) as client:
        url = client.get("/echo?a=1", params={"b": ["x y", "z"], "c": True, "d": None}).json()
        assert url["query"] == "a=1&b=x+y&b=z&c=true"
        assert client.get("/echo?q=ä b").json()["query"] == "q=%C3%A4%20b"


def test_bodies_are_json_forms_text_or_pieces() -> None:
    with TestClient(echo()) as client:
        json = client.post("/echo", json={"a": None}).json()
        assert (json["body"], json["headers"]["content-type"]) == ('{"a":null}', "application/json")
        assert client.post("/echo", json=None).json()["body"] == "null"
        form = client.post("/echo", data={"a": "1 2", "b": [3, 4]}).json()
        assert form["body"] == "a=1+2&b=3&b=4"
        assert form["headers"]["content-type"] == "application/x-www-form-urlencoded"
        text = client.post("/echo", content="ä").json()
        assert (text["body"], text["headers"]["content-length"]) == ("ä", "2")
        pieces = client.post("/echo", content=iter([b"a", b"b"])).json()
        assert (pieces["body"], pieces["headers"]["transfer-encoding"]) == ("ab", "chunked")
        assert client.post("/echo").json()["headers"]["content-length"] == "0"
        with pytest.raises(TypeError, match="one body, not content and json"):
            client.post("/echo", content="a", json=1)
        with pytest.raises(TypeError, match="no option 'files'"):
            client.post("/echo", files={})  # type: ignore[call-arg]


def test_headers_of_a_request_replace_those_of_the_client() -> None:
    app = App()

    @app.get("/")
    async def handler(request: Request) -> list[str]:
        return [value.decode() for value in request.head.header_values(b"x-a")]

    with TestClient(app, headers={"X-A": "client"}) as client:
        assert client.get("/").json() == ["client"]
        assert client.get("/", headers={"x-a": "own"}).json() == ["own"]
        assert client.get("/", headers=[("x-a", "1"), ("x-a", "2")]).json() == ["1", "2"]
        assert client.headers == {"X-A": "client"}


def test_an_absolute_url_names_the_host() -> None:
    with TestClient(echo()) as client:
        assert client.get("https://example.org/echo").json()["headers"]["host"] == "example.org"
        assert client.get("/echo").json()["headers"]["host"] == "testserver"
        assert client.get("//echo").status == 404


def test_cookies_are_kept_sent_and_expired() -> None:
    app = App()

    @app.post("/login")
    async def login(user: Annotated[str, Form()]) -> Response[str]:
        response = Response("hello")
        response.set_cookie("user", user)
        return response

    @app.post("/logout")
    async def logout() -> Response[None]:
        response = Response(None)
        response.delete_cookie("user")
        return response

    @app.get("/me")
    async def me(user: Annotated[str, Cookie()] = "nobody", lang: Annotated[str, Cookie()] = "en") -> str:
        return f"{user} {lang}"

    with TestClient(app, cookies={"lang": "sv"}) as client:
        assert client.get("/me").text == "nobody sv"
        assert client.post("/login", data={"user": "ann"}).cookies == {"user": "ann"}
        assert client.get("/me").text == "ann sv"
        assert client.get("/me", cookies={"lang": "de"}).text == "ann de"
        client.post("/logout")
        assert client.get("/me").text == "nobody sv"
        assert client.cookies == {"lang": "sv"}


def test_any_asgi_application_can_be_tested() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    with TestClient(application) as client:
        assert client.app is application
        response = client.get("/")
        assert (response.status, response.reason_phrase) == (299, "")
        with pytest.raises(TypeError, match="only a fastlane App"), client.override(print, print):
            raise AssertionError


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "without a whole answer"),
        ([{"type": "http.response.start", "status": 200}], "without a whole answer"),
        ([{"type": "http.response.body"}], "before 'http.response.start'"),
        ([{"type": "http.response.start", "status": 200}] * 2, "in its answer"),
        (
            [
                {"type": "http.response.start", "status": 200},
                {"type": "http.response.body"},
                {"type": "http.response.body"},
            ],
            "after the end",
        ),
    ],
)
def test_an_application_that_breaks_asgi_is_found_out(messages: Any, problem: str) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    with TestClient(application, lifespan=False) as client, pytest.raises(RuntimeError, match=problem):
        client.get("/")


def test_an_application_without_lifespan_says_so() -> None:
    async def raising(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no lifespan here")

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.failed", "message": "why"})

    with pytest.raises(ValueError, match="no lifespan here"), TestClient(raising):
        raise AssertionError
    with pytest.raises(RuntimeError, match=r"'lifespan\.startup\.failed': why"), TestClient(failing):
        raise AssertionError


def test_answers_are_checked_at_every_depth_and_the_app_is_left_as_it_was() -> None:
    app = App()
    with TestClient(app) as client:
        client.get("/")
        assert app.validate_responses(True) is True
    assert app.validate_responses(False) is False
    with TestClient(app, validate_responses=False) as client:
        client.get("/")
        assert app.validate_responses(False) is False


def test_it_can_not_be_used_inside_its_own_app() -> None:
    app = App()
    clients: list[TestClient] = []

    @app.get("/")
    async def handler() -> str:
        return clients[0].get("/").text

    with TestClient(app) as client:
        clients.append(client)
        with pytest.raises(RuntimeError, match="AsyncTestClient"):
            client.get("/")


def test_tasks_that_still_run_are_cancelled_at_the_end() -> None:
    app = App()
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    @app.get("/")
    async def handler() -> str:
        tasks.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)
        return ""

    tasks: list[asyncio.Task[None]] = []
    with TestClient(app) as client:
        client.get("/")
        assert ended == []
    assert ended == ["ended"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_would_end_the_process_is_raised_too(error: type[BaseException]) -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        yield
        raise error

    app = App(lifespan=lifespan)

    @app.get("/")
    async def leave() -> str:
        raise error

    client = TestClient(app)
    with pytest.raises(error):
        client.get("/")
    with pytest.raises(error):
        client.close()
