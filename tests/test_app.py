import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fastlane import (
    App,
    BackgroundTasks,
    CallNext,
    CompileError,
    FrozenAppError,
    Request,
    Response,
    Router,
    StreamingResponse,
)
from fastlane.routing.collecting import collect_compile_errors
from fastlane.testing import AsyncTestClient, TestClient
from tests.blog import NewPost, blog


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
    assert len(problems) == 4  # the same mistake of the same handler is said once
    for part, problem in zip(["'x'", "status_code", "claimed twice", "WebSocket"], problems, strict=True):
        assert part in problem
    with pytest.raises(CompileError):
        app.get("/bad")(bad)


def test_compile_errors_freezes_nothing() -> None:
    app = blog()

    assert app.compile_errors() == []
    app.readiness(lambda: True)


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
