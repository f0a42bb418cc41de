"""The lane's own ways: replies, failures, streams, flow control and ends of connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest

from fastlane import App, BackgroundTasks, Request, Response, StreamingResponse
from fastlane.server.limits import Limits
from fastlane.server.reception import TURN
from tests.server.lane import Connection, Transport

HOST = b"\r\nHost: example.org\r\n"


def get(path: bytes, *fields: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def post(path: bytes, body: bytes, *fields: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return get(path, b"Content-Length: %d" % size, *fields).replace(b"GET", b"POST", 1) + body


class Odd(Exception):
    pass


def build() -> App:
    app = App(max_body=1000)

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    @app.get("/large")
    async def large() -> str:
        return "x" * 5000

    @app.get("/nothing", status=205)
    async def nothing() -> None: ...

    @app.get("/odd")
    async def odd() -> str:
        raise Odd

    @app.exception_handler(Odd)
    async def explain(request: Request, error: Odd) -> Response[str]:
        await asyncio.sleep(0)
        return Response(f"odd at {request.url.path}", status=418)

    @app.get("/waits-and-fails")
    async def waits_and_fails() -> str:
        await asyncio.sleep(0)
        raise Odd

    @app.get("/split")
    async def split() -> Response[str]:
        response = Response("x")
        response.raw_headers.append((b"x-one", b"1\r\nx-two: 2"))
        return response

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            await asyncio.sleep(0)
            yield b"two"

        return StreamingResponse(parts())

    done: list[str] = []

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> list[str]:
        tasks.add(done.append, "task")
        return list(done)

    @app.post("/echo")
    async def echo(data: dict[str, int]) -> dict[str, int]:
        return data

    @app.get("/client")
    async def client(request: Request) -> str:
        return f"{request.client} {request.scheme}"

    @app.get("/sleeps")
    async def sleeps() -> str:
        await asyncio.sleep(60)
        return "woke"

    return app


@pytest.fixture
def run():
    with asyncio.Runner() as runner:
        yield runner.run


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def test_a_response_is_one_write(run):
    async def main() -> None:
        connection = Connection(build())
        assert body_of(await connection.send(get(b"/hello"))) == b"hello"
        assert body_of(await connection.send(get(b"/large"))) == b"x" * 5000
        assert connection.transport.writes == 2
        connection.lose()

    run(main())


def test_pipelined_answers_leave_together_and_in_order(run):
    async def main() -> None:
        connection = Connection(build())
        answers = await connection.send(get(b"/hello") + get(b"/nowhere") + get(b"/hello"))
        assert [line[9:12] for line in answers.split(b"HTTP/1.1")[1:] for line in [b"HTTP/1.1" + line]] == [
            b"200",
            b"404",
            b"200",
        ]
        assert connection.transport.writes == 1
        connection.lose()

    run(main())


def test_a_long_pipeline_gives_others_a_turn(run):
    async def main() -> None:
        connection = Connection(build())
        count = TURN * 2 + 5
        connection.protocol.data_received(get(b"/hello") * count)
        assert connection.transport.written.count(b"HTTP/1.1 200") == TURN
        assert connection.transport.paused
        for _ in range(10):
            await asyncio.sleep(0)
        assert connection.transport.written.count(b"HTTP/1.1 200") == count
        assert not connection.transport.paused
        connection.lose()

    run(main())


def test_a_peer_that_does_not_read_gets_no_more_answers_until_it_does(run):
    async def main() -> None:
        connection = Connection(build())
        await connection.send(get(b"/hello"))
        connection.protocol.pause_writing()
        assert await connection.send(get(b"/hello"), get(b"/large")) == b""
        connection.protocol.resume_writing()
        await connection.settle()
        assert connection.transport.written.count(b"HTTP/1.1 200") == 3
        connection.lose()

    run(main())


def test_a_peer_that_never_reads_is_cut_off(run, caplog):
    async def main() -> None:
        connection = Connection(build(), limits=Limits(write_timeout=0.01))
        await connection.send(get(b"/hello"))
        connection.protocol.pause_writing()
        async with asyncio.timeout(30):
            while not connection.transport.aborted:
                await asyncio.sleep(0.005)

    run(main())
    assert "has not read" in caplog.text


def test_a_205_says_that_it_is_empty(run):
    async def main() -> None:
        connection = Connection(build())
        answer = await connection.send(get(b"/nothing"))
        assert answer.startswith(b"HTTP/1.1 205")
        assert b"\r\ncontent-length: 0\r\n" in answer
        connection.lose()

    run(main())


@pytest.mark.parametrize("path", [b"/odd", b"/waits-and-fails"])
def test_an_async_exception_handler_answers(run, path):
    async def main() -> None:
        connection = Connection(build())
        for _ in range(2):
            answer = await connection.send(get(path))
            assert answer.startswith(b"HTTP/1.1 418")
            assert body_of(answer) == b"odd at " + path
        connection.lose()

    run(main())


def test_a_header_that_would_split_the_response_becomes_a_500(run):
    async def main() -> None:
        connection = Connection(build())
        answer = await connection.send(get(b"/split"))
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"x-two" not in answer
        assert connection.transport.closed

    run(main())


def test_a_stream_is_chunked_and_the_connection_goes_on(run):
    async def main() -> None:
        connection = Connection(build())
        for _ in range(2):
            answer = await connection.send(get(b"/stream"))
            assert body_of(answer) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        connection.lose()

    run(main())


def test_a_stream_on_http_1_0_ends_where_the_connection_does(run):
    async def main() -> None:
        connection = Connection(build())
        answer = await connection.send(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert body_of(answer) == b"onetwo"
        assert b"connection: close" in answer
        assert connection.transport.closed

    run(main())


def test_background_tasks_run_after_the_answer(run):
    async def main() -> None:
        connection = Connection(build())
        assert body_of(await connection.send(get(b"/later"))) == b"[]"
        assert body_of(await connection.send(get(b"/later"))) == b'["task"]'
        connection.lose()

    run(main())


def test_a_body_that_is_waited_for_is_asked_for_once(run):
    async def main() -> None:
        connection = Connection(build())
        request = post(b"/echo", b"", b"Expect: 100-continue", b"Content-Type: application/json", length=8)
        assert await connection.send(request) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert body_of(await connection.send(b'{"a": 1}')) == b'{"a":1}'
        connection.lose()

    run(main())


def test_an_unwanted_body_is_dropped_when_it_is_small_and_closes_the_connection_when_not(run):
    async def main() -> None:
        kept = Connection(build())
        answer = await kept.send(post(b"/echo", b"", b"Content-Type: text/plain", length=10))
        assert answer.startswith(b"HTTP/1.1 415")
        assert b"connection: close" not in answer
        assert await kept.send(b"0123456789") == b""
        assert body_of(await kept.send(get(b"/hello"))) == b"hello"
        kept.lose()

        closed = Connection(build(), Transport(half_closes=True))
        answer = await closed.send(post(b"/echo", b"", b"Content-Type: application/json", length=10_000_000))
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer
        assert closed.transport.ended
        assert not closed.transport.closed
        closed.protocol.data_received(b"x" * 60_000)
        assert not closed.transport.aborted
        closed.protocol.data_received(b"x" * 60_000)
        assert closed.transport.aborted

    run(main())


def test_the_client_is_whom_a_trusted_proxy_names(run):
    async def main() -> None:
        fields = (b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https")
        trusted = Connection(build(), forwarded_allow_ips="10.0.0.1")
        assert body_of(await trusted.send(get(b"/client", *fields))) == b"('1.2.3.4', 0) https"
        assert body_of(await trusted.send(get(b"/client"))) == b"('10.0.0.1', 1234) http"
        trusted.lose()
        other = Connection(build(), forwarded_allow_ips="10.9.9.9")
        assert body_of(await other.send(get(b"/client", *fields))) == b"('10.0.0.1', 1234) http"
        other.lose()

    run(main())


def test_every_answer_is_in_the_access_log(run):
    lines: list[Any] = []

    async def main() -> None:
        connection = Connection(build())
        connection.protocol.lane.access_log = lambda *line: lines.append(line)
        await connection.send(get(b"/hello?a=1"), get(b"/hello?a=1"), get(b"/nowhere"), get(b"/stream"))
        connection.lose()

    run(main())
    assert [line[:6] for line in lines] == [
        ("10.0.0.1:1234", "GET", "/hello?a=1", "1.1", 200, 5),
        ("10.0.0.1:1234", "GET", "/hello?a=1", "1.1", 200, 5),
        ("10.0.0.1:1234", "GET", "/nowhere", "1.1", 404, lines[2][5]),
        ("10.0.0.1:1234", "GET", "/stream", "1.1", 200, 6),
    ]
    assert all(0 <= line[6] < 5 for line in lines)


def test_a_cancelled_handler_closes_its_connection(run):
    async def main() -> None:
        connection = Connection(build())
        connection.protocol.data_received(get(b"/sleeps"))
        await asyncio.sleep(0)
        (task,) = connection.state.tasks
        task.cancel()
        await connection.settle()
        assert connection.transport.closed
        assert connection.transport.written == b""

    run(main())


def test_a_handler_goes_on_when_its_client_is_gone(run):
    ended = []

    async def main() -> None:
        app = App()

        @app.get("/")
        async def slow(request: Request) -> str:
            for _ in range(3):
                await asyncio.sleep(0)
            ended.append(await request.is_disconnected())
            return "unheard"

        connection = Connection(app)
        connection.protocol.data_received(get(b"/"))
        await asyncio.sleep(0)
        connection.lose()
        await connection.settle()
        assert connection.transport.written == b""

    run(main())
    assert ended == [True]


def test_drain_answers_once_more_and_closes(run):
    async def main() -> None:
        connection = Connection(build())
        await connection.send(get(b"/hello"))
        connection.protocol.drain()
        assert not connection.transport.closed
        answer = await connection.send(get(b"/hello"))
        assert b"connection: close" in answer
        assert connection.transport.closed

    run(main())


def test_shutdown_closes_what_is_idle_and_lets_an_answer_end(run):
    async def main() -> None:
        idle = Connection(build())
        idle.protocol.shutdown()
        assert idle.transport.closed

        busy = Connection(build())
        busy.protocol.data_received(get(b"/waits-and-fails"))
        busy.protocol.shutdown()
        await busy.settle()
        assert b"connection: close" in busy.transport.written
        assert busy.transport.closed

    run(main())


def test_half_a_close_behind_tls_is_a_whole_one(run):
    async def main() -> None:
        plain = Connection(build())
        plain.protocol.data_received(get(b"/waits-and-fails"))
        assert plain.protocol.eof_received() is True
        await plain.settle()
        assert plain.transport.written.startswith(b"HTTP/1.1 418")
        assert plain.transport.closed

        tls = Connection(build(), Transport(tls=True))
        tls.protocol.data_received(get(b"/waits-and-fails"))
        assert tls.protocol.eof_received() is False
        tls.lose()
        await tls.settle()

    run(main())


def test_the_limit_of_connections_is_a_503(run, caplog):
    caplog.set_level(logging.WARNING, "uvicorn.error")

    async def main() -> None:
        connection = Connection(build(), limit_concurrency=1)
        answer = await connection.send(get(b"/hello"))
        assert answer.startswith(b"HTTP/1.1 503")
        assert connection.transport.closed

    run(main())
    assert "concurrency limit" in caplog.text


def test_what_a_response_says_itself_is_not_said_twice(run):
    async def main() -> None:
        app = App()

        @app.get("/")
        async def dated() -> Response[str]:
            return Response("x", headers={"date": "then"})

        connection = Connection(app)
        connection.state.default_headers = [(b"date", b"now"), (b"x-more", b"1")]
        answer = await connection.send(get(b"/"))
        assert answer.count(b"date:") == 1
        assert b"date: then" in answer
        assert b"x-more: 1" in answer
        connection.lose()

    run(main())


def test_a_background_task_sees_its_own_request_s_variables_behind_a_pipelined_one(run):
    user: ContextVar[str] = ContextVar("user", default="nobody")
    seen: list[str] = []

    async def main() -> None:
        app = App()

        @app.get("/{name}")
        async def enter(name: str, tasks: BackgroundTasks) -> str:
            user.set(name)
            await asyncio.sleep(0)
            tasks.add(lambda: seen.append(user.get()))
            return name

        connection = Connection(app)
        await connection.send(get(b"/a") + get(b"/b"))
        assert user not in connection.protocol.context
        connection.lose()

    run(main())
    assert sorted(seen) == ["a", "b"]


def test_a_refused_body_is_told_its_type_and_logged_with_its_time(run):
    lines: list[Any] = []

    async def main() -> None:
        connection = Connection(build())
        connection.protocol.lane.access_log = lambda *line: lines.append(line)
        answer = await connection.send(post(b"/echo", b"a=1", b"Content-Type: application/x-www-form-urlencoded"))
        assert b"is 'application/x-www-form-urlencoded'; this route reads application/json" in answer
        connection.lose()

    run(main())
    assert lines[0][4] == 415
    assert 0 <= lines[0][6] < 5


def test_a_body_that_was_put_into_a_205_is_not_sent_behind_its_length_of_zero(run):
    async def main() -> None:
        app = App()

        @app.get("/")
        async def reset() -> Response[None]:
            response = Response(None, status=205)
            response.body = b"HTTP/1.1 200 OK\r\n\r\n"
            return response

        connection = Connection(app)
        answer = await connection.send(get(b"/"))
        assert answer.startswith(b"HTTP/1.1 205")
        assert body_of(answer) == b""
        connection.lose()

    run(main())
