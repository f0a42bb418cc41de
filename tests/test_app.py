import asyncio
import logging
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from msgspec import Struct

from fastlane import (
    App,
    BackgroundTasks,
    CallNext,
    CompileError,
    Depends,
    FrozenAppError,
    HTTPError,
    InvalidArgument,
    NotFound,
    Request,
    Response,
    Router,
    StreamingResponse,
)
from fastlane.routing.collecting import collect_compile_errors
from fastlane.testing import AsyncTestClient, TestClient


class NewPost(Struct):
    title: str


class Post(NewPost):
    id: int


def blog(**options: Any) -> App:
    app = App(**options)

    @app.get("/posts/{id}")
    async def get_post(id: int) -> Post:
        if id == 404:
            raise NotFound(f"no post {id}")
        return Post(title="hello", id=id)

    @app.post("/posts", status=201)
    async def create_post(new: NewPost) -> Post:
        return Post(title=new.title, id=1)

    @app.get("/boom")
    async def boom() -> str:
        raise KeyError("the password")

    return app


def test_annotated_handlers_answer() -> None:
    with TestClient(blog()) as client:
        assert client.get("/posts/3").json() == {"id": 3, "title": "hello"}
        created = client.post("/posts", json={"title": "x"})
        assert (created.status, created.json()) == (201, {"title": "x", "id": 1})
        assert client.get("/posts/404").json()["detail"] == "no post 404"
        assert client.get("/posts/abc").json()["errors"][0]["in"] == "path"
        assert client.post("/posts", json={}).status == 422
        assert client.post("/posts", content="{", headers={"content-type": "application/json"}).status == 400
        assert client.post("/posts", content="{}").status == 415


def test_head_and_options_are_answered_by_themselves() -> None:
    with TestClient(blog()) as client:
        head = client.head("/posts/3")
        assert (head.status, head.content) == (200, b"")
        assert head.headers["content-length"] == client.get("/posts/3").headers["content-length"]
        options = client.options("/posts/3")
        assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
        assert "content-length" not in options.headers
        assert client.request("OPTIONS", "*").status == 204
        wrong = client.delete("/posts/3")
        assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        assert wrong.headers["content-type"] == "application/problem+json"


# Freezing


def test_the_table_freezes_the_app() -> None:
    app = blog()
    table = app.table

    assert app.table is table is app.freeze()
    with pytest.raises(FrozenAppError):
        app.get("/late")(lambda: "")


def test_the_first_request_freezes_an_app_without_lifespan() -> None:
    app = blog()
    with TestClient(app, lifespan=False) as client:
        client.get("/posts/3")
    with pytest.raises(FrozenAppError):
        app.get("/late")(lambda: "")


def test_a_name_that_is_defined_later_is_resolved_at_the_freeze() -> None:
    app = App()
    namespace: dict[str, Any] = {"app": app}
    exec("async def handler() -> 'Later': return Later(title='x')", namespace)
    app.get("/")(namespace["handler"])
    namespace["Later"] = NewPost

    with TestClient(app) as client:
        assert client.get("/").json() == {"title": "x"}


def test_a_name_that_never_comes_is_an_error_at_the_freeze() -> None:
    app = App()
    namespace: dict[str, Any] = {}
    exec("async def handler(x: 'Never') -> str: return x", namespace)
    app.get("/")(namespace["handler"])

    with pytest.raises(CompileError, match="Never"):
        app.freeze()
    assert [error.handler for error in app.compile_errors()] == ["handler"]


def test_a_handler_that_can_not_be_compiled_fails_where_it_is_declared() -> None:
    app = App()

    async def handler(x: object) -> str:
        raise AssertionError

    with pytest.raises(CompileError) as caught:
        app.get("/")(handler)

    assert caught.value.file == __file__
    assert caught.value.parameter == "x"
    assert app.routes == []


def test_all_errors_of_an_app_are_collected() -> None:
    async def bad(x: object) -> str:
        raise AssertionError

    async def good() -> str:
        raise AssertionError

    with collect_compile_errors() as errors:
        app = App()
        app.get("/bad")(bad)
        app.get("/foreign", status_code=201)(good)  # type: ignore[call-arg]
        app.get("/good")(good)
        app.get("/good")(good)
        router = Router("/r")
        router.get("/bad")(bad)
        router.get("/good")(good)
        app.include(router)
        app.websocket("/ws")(good)

    problems = [str(error) for error in errors]
    assert [route.path for route in app.routes] == ["/good", "/r/good"]
    assert app.compile_errors() == []
    assert len(problems) == 5
    for part, problem in zip(["'x'", "status_code", "claimed twice", "'x'", "WebSocket"], problems, strict=True):
        assert part in problem
    with pytest.raises(CompileError):
        app.get("/bad")(bad)


def test_compile_errors_freezes_nothing() -> None:
    app = blog()

    assert app.compile_errors() == []
    app.readiness(lambda: True)


# Exception handlers


class TeapotError(Exception):
    pass


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


# Middleware


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


# Dependencies


def current_user() -> str:
    return "real"


def whoami() -> App:
    app = App()

    @app.get("/me")
    async def me(user: Annotated[str, Depends(current_user, inline=True)]) -> str:
        return user

    return app


def test_overriding_a_dependency_leaves_nothing_behind() -> None:
    app = whoami()
    with TestClient(app) as client:
        assert client.get("/me").text == "real"
        with client.override(current_user, lambda: "fake"):
            assert client.get("/me").text == "fake"
            with client.override(current_user, lambda: "faker"):
                assert client.get("/me").text == "faker"
            assert client.get("/me").text == "fake"
        assert client.get("/me").text == "real"
    assert not app.dependency_overrides


def test_dependency_overrides_is_a_mapping() -> None:
    app = whoami()

    def fake() -> str:
        return "fake"

    app.dependency_overrides[current_user] = fake
    assert dict(app.dependency_overrides) == {current_user: fake}
    assert "current_user" in repr(app.dependency_overrides)
    with TestClient(app) as client:
        assert client.get("/me").text == "fake"
        app.dependency_overrides.clear()
        assert client.get("/me").text == "real"


def test_an_override_brings_its_own_parameters() -> None:
    def named(name: str) -> str:
        return name

    with TestClient(whoami()) as client, client.override(current_user, named):
        assert client.get("/me", params={"name": "ann"}).text == "ann"
        assert client.get("/me").status == 422


# Answers


def test_background_tasks_run_after_the_answer() -> None:
    done: list[str] = []
    app = App()

    @app.post("/jobs")
    async def job(tasks: BackgroundTasks) -> dict[str, int]:
        tasks.add(done.append, "first")
        return {"queued": len(done)}

    with TestClient(app) as client:
        assert client.post("/jobs").json() == {"queued": 0}
    assert done == ["first"]


def test_a_stream_is_sent_in_pieces() -> None:
    app = App()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        def pieces() -> Iterator[bytes]:
            yield b"a"
            yield b"b"

        return StreamingResponse(pieces(), media_type="text/plain")

    with TestClient(app) as client:
        assert client.get("/stream").content == b"ab"
        assert client.head("/stream").content == b""


def test_content_that_can_not_be_encoded_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.get("/")
    async def handler() -> str:
        raise AssertionError

    @app.middleware
    async def broken(request: Request, call_next: CallNext) -> Response[Any]:
        return Response({"no": object()})

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    assert "TypeError" in caplog.text


def test_max_body_of_a_route_beats_that_of_the_app() -> None:
    app = App(max_body=4)

    @app.post("/small")
    async def small(request: Request) -> int:
        return len(request.raw_body)

    @app.post("/large", max_body=None)
    async def large(request: Request) -> int:
        return len(request.raw_body)

    with TestClient(app) as client:
        assert client.post("/small", content="12345").status == 413
        assert client.post("/small", content=[b"123", b"45"]).status == 413
        assert client.post("/small", content="1234").json() == 4
        assert client.post("/large", content="12345").json() == 5


def test_strict_content_type_can_be_relaxed_for_app_and_route() -> None:
    relaxed, strict = App(strict_content_type=False), App()

    async def echo(new: NewPost) -> NewPost:
        return new

    relaxed.post("/")(echo)
    relaxed.post("/strict", strict_content_type=True)(echo)
    strict.post("/", strict_content_type=False)(echo)

    with TestClient(relaxed) as client:
        assert client.post("/", content='{"title": "x"}').status == 200
        assert client.post("/strict", content='{"title": "x"}').status == 415
    with TestClient(strict) as client:
        assert client.post("/", content='{"title": "x"}').status == 200


def test_readiness_checks_are_kept_for_the_server() -> None:
    app = App()

    @app.readiness
    async def database() -> bool:
        raise AssertionError

    assert app.readiness_checks == (database,)


def test_validate_responses_is_switched_and_tells_what_it_was() -> None:
    app = blog()
    table = app.table

    assert app.validate_responses(False) is False
    assert app.table is table
    assert app.validate_responses(True) is False
    assert app.validate_responses(True) is True
    assert app.table is not table


def test_requests_at_the_same_time_do_not_mix() -> None:
    app = App()

    @app.get("/{name}")
    async def handler(name: str) -> str:
        await asyncio.sleep(0)
        return name

    async def main() -> list[str]:
        async with AsyncTestClient(app) as client:
            answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(20)))
            return [answer.text for answer in answers]

    assert asyncio.run(main()) == [str(number) for number in range(20)]
