"""Middleware and exception handlers, as they stand around a whole app."""

import logging
from typing import Any

import pytest

from fastlane import App, CallNext, CompileError, HTTPError, InvalidArgument, Request, Response
from fastlane.testing import TestClient
from tests.blog import blog


def test_exception_handlers_by_class_status_and_constructor() -> None:
    async def invalid(request: Request, error: InvalidArgument) -> Response[Any]:
        return Response({"wrong": error.extensions["errors"]}, status=400)

    app = blog(exception_handlers={InvalidArgument: invalid})

    @app.exception_handler(KeyError)
    def key(request: Request, error: KeyError) -> Response[str]:
        return Response("no such key", status=410)

    @app.exception_handler(404)
    def missing(request: Request, error: HTTPError) -> Response[str]:
        return Response(f"nothing at {request.head.raw_path.decode()}: {error.detail}", status=404)

    with TestClient(app) as client:
        assert client.get("/boom").status == 410
        assert client.get("/posts/abc").json()["wrong"][0]["path"] == "id"
        assert client.get("/posts/404").text == "nothing at /posts/404: no post 404"
        assert client.get("/nowhere").text.startswith("nothing at /nowhere")


def test_an_exception_that_nobody_handles_says_nothing_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(blog(), raise_server_exceptions=False) as client:
        response = client.get("/boom")

    assert response.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal",
    }
    assert "the password" in caplog.text
    assert [record.name for record in caplog.records] == ["fastlane.error"]


async def stamp(request: Request, call_next: CallNext) -> Response[Any]:
    response = await call_next(request)
    response.headers["x-stamp"] = str(response.status)
    return response


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/posts/3", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/posts/3", 405),
        ("OPTIONS", "/posts/3", 204),
        ("OPTIONS", "*", 204),
        ("GET", "/posts/abc", 422),
        ("GET", "/%ff", 400),
        ("GET", "/boom", 500),
        ("POST", "/posts", 422),
    ],
)
def test_app_middleware_is_around_everything(method: str, path: str, status: int) -> None:
    with TestClient(blog(middleware=[stamp]), raise_server_exceptions=False) as client:
        response = client.request(method, path)

    assert response.status == status
    assert response.headers["x-stamp"] == str(status)


def test_refusals_of_the_door_get_the_middleware_too() -> None:
    with TestClient(blog(middleware=[stamp], max_body=10)) as client:
        large = client.post("/posts", json={"title": "x" * 20})
        typed = client.post("/posts", content="x")
        expecting = client.get("/posts/3", headers={"expect": "miracles"})

    assert [large.status, typed.status, expecting.status] == [413, 415, 417]
    assert [large.headers["x-stamp"], typed.headers["x-stamp"], expecting.headers["x-stamp"]] == ["413", "415", "417"]


def test_middleware_can_answer_without_the_handler() -> None:
    app = blog()

    @app.middleware
    async def closed(request: Request, call_next: CallNext) -> Response[Any]:
        return Response({"closed": True}, status=503)

    with TestClient(app) as client:
        assert client.get("/posts/3").json() == {"closed": True}


def test_asgi_middleware_moves_the_app_to_the_asgi_door(caplog: pytest.LogCaptureFixture) -> None:
    class Header:
        def __init__(self, app: Any, *, value: str) -> None:
            self.app = app
            self.value = value

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def forward(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-value", self.value.encode())]
                await send(message)

            await self.app(scope, receive, forward)

    app = blog()
    assert not app.asgi_only
    app.add_asgi_middleware(Header, value="outer")
    app.add_asgi_middleware(Header, value="inner")
    assert app.asgi_only

    with caplog.at_level(logging.INFO, logger="fastlane"), TestClient(app) as client:
        response = client.get("/posts/3")
        client.get("/posts/3")

    assert response.headers.getlist("x-value") == ["inner", "outer"]
    assert [record.message for record in caplog.records if record.name == "fastlane"] == [
        "ASGI middleware (Header, Header): every request takes the ASGI door instead of the fast lane"
    ]


def test_asgi_middleware_must_be_callable() -> None:
    with pytest.raises(CompileError, match="no ASGI middleware"):
        App().add_asgi_middleware(3)  # type: ignore[arg-type]
