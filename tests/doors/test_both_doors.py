"""Both doors answer every well-formed request alike: status, body and headers, but for Date, Server and Connection."""

from __future__ import annotations

import asyncio
import enum
import http.client
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import msgspec
import pytest
import uvicorn
from msgspec import Meta, Struct

from fastlane import (
    App,
    BackgroundTasks,
    Body,
    CallNext,
    Cookie,
    Depends,
    Form,
    Header,
    HTTPError,
    NotFound,
    PlainTextResponse,
    Query,
    Request,
    Response,
    StreamingResponse,
    Unauthenticated,
)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(Struct):
    name: Annotated[str, Meta(min_length=1)]
    price: Annotated[float, Meta(ge=0)] = 0.0
    tags: list[str] = []


class Filter(Struct):
    text: str = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class Account(Struct):
    user: str
    age: int


class Gathered(Struct):
    x_trace: Annotated[str, Header()]
    page: Annotated[int, Query()]
    name: str = ""


class Teapot(Exception):
    pass


class Lost(Exception):
    pass


user: ContextVar[str] = ContextVar("user", default="nobody")
seen_later: list[str] = []


def build() -> App:
    app = App(max_body=100_000)

    @app.exception_handler(Teapot)
    async def brew(request: Request, error: Teapot) -> Response[str]:
        return PlainTextResponse("short and stout", status=418)

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"message": "hello"}

    @app.get("/sync")
    def sync(n: int = 1) -> int:
        return n + 1

    @app.get("/inline", inline=True)
    def inline() -> str:
        return "text"

    @app.get("/waits")
    async def waits() -> list[int]:
        await asyncio.sleep(0)
        return [1, 2]

    @app.get("/items/{item_id}")
    async def item(item_id: int, colour: Colour = Colour.RED, q: str | None = None) -> dict[str, Any]:
        return {"id": item_id, "colour": colour.value, "q": q}

    @app.get("/things/{thing}")
    async def thing(thing: uuid.UUID) -> str:
        return str(thing)

    @app.get("/files/{path:path}")
    async def files(path: str) -> str:
        return path

    @app.get("/filter")
    async def filtered(criteria: Filter) -> Filter:
        return criteria

    @app.get("/many")
    async def many(ids: list[int], x_tag: Annotated[list[str], Header()] = []) -> dict[str, Any]:  # noqa: B006
        return {"ids": ids, "tags": x_tag}

    @app.post("/items", status=201)
    async def create(new: Item, x_author: Annotated[str, Header()], dry: bool = False) -> Item:
        return new

    @app.put("/gather")
    async def gather(everything: Gathered) -> Gathered:
        return everything

    @app.post("/form")
    async def form(account: Annotated[Account, Form()]) -> Account:
        return account

    @app.post("/raw")
    async def raw(data: Annotated[bytes, Body()]) -> bytes:
        return data

    @app.get("/cookie")
    async def cookie(session: Annotated[str, Cookie()]) -> str:
        return session

    @app.delete("/items/{item_id}")
    async def delete(item_id: int) -> None: ...

    @app.get("/missing")
    async def missing() -> None:
        raise NotFound("nothing here", hint="look elsewhere")

    @app.get("/conflict")
    async def conflict() -> None:
        raise HTTPError(409, "taken", code="slug_taken", headers={"x-why": "because"})

    @app.get("/teapot")
    async def teapot() -> None:
        raise Teapot

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret text")

    def require_user(authorization: Annotated[str | None, Header()] = None) -> str:
        if authorization is None:
            raise Unauthenticated("who are you?", headers={"www-authenticate": "Bearer"})
        return authorization

    @app.post("/guarded")
    async def guarded(new: Item, user: Annotated[str, Depends(require_user)]) -> str:
        return user

    async def connection() -> AsyncIterator[str]:
        yield "opened"

    @app.get("/yields")
    async def yields(opened: Annotated[str, Depends(connection)]) -> str:
        return opened

    @app.get("/response")
    async def response() -> Response[dict[str, int]]:
        answer = Response({"a": 1}, status=202, headers={"x-one": "1"})
        answer.set_cookie("a", "b")
        return answer

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in (b"one ", b"two ", b"three"):
                await asyncio.sleep(0)
                yield part

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/fails/early")
    async def fails_early() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            raise RuntimeError("secret text")
            yield b""

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> str:
        tasks.add(list)
        return "now"

    @app.get("/packed", produces="application/msgpack")
    async def packed() -> dict[str, int]:
        return {"a": 1}

    @app.exception_handler(Lost)
    async def lost(request: Request, error: Lost) -> Response[str]:
        return Response(user.get(), status=410)

    def add_context_routes(prefix: str, pause: Callable[[], Awaitable[None]] | None) -> None:
        """Three ways to look at what the handler has set, in handlers that may suspend and in ones that can't."""

        async def show() -> AsyncIterator[bytes]:
            yield user.get().encode()

        async def set_user() -> None:
            user.set(f"{user.get()} {prefix}")

        def note() -> None:
            seen_later.append(user.get())

        async def stream(_: Annotated[None, Depends(set_user)]) -> StreamingResponse:
            return StreamingResponse(show(), media_type="text/plain")

        async def failing(_: Annotated[None, Depends(set_user)]) -> str:
            raise Lost

        async def later(_: Annotated[None, Depends(set_user)], tasks: BackgroundTasks) -> str:
            tasks.add(note)
            return user.get()

        dependencies = [] if pause is None else [Depends(pause)]
        app.get(f"/context/{prefix}/stream", dependencies=dependencies)(stream)
        app.get(f"/context/{prefix}/failing", dependencies=dependencies)(failing)
        app.get(f"/context/{prefix}/later", dependencies=dependencies)(later)

    async def pause() -> None:
        await asyncio.sleep(0)

    add_context_routes("suspends", pause)
    add_context_routes("never", None)

    async def replace(request: Request, call_next: CallNext) -> Response[Any]:
        await call_next(request)
        return Response({"no": object()})

    @app.get("/replaced", middleware=[replace])
    async def replaced() -> str:
        return "never seen"

    @app.get("/statuses/{status}")
    async def status(status: int) -> Response[Any]:
        answer: Response[Any] = Response(None, status=204)
        answer.status = status
        return answer

    @app.get("/stream/{status}")
    async def stream_status(status: int) -> Response[Any]:
        answer: Response[Any] = StreamingResponse([b"a"])
        answer.status = status
        return answer

    @app.exception_handler(ValueError)
    async def not_sent(request: Request, error: ValueError) -> Response[Any]:
        return PlainTextResponse(f"not sent: {error}", status=500)

    @app.exception_handler(TypeError)
    async def not_sent_either(request: Request, error: TypeError) -> Response[Any]:
        return Response({"again": object()}, status=500)

    @app.get("/seen")
    async def seen(request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "path": request.url.path,
            "query": request.query_params.get("q"),
            "host": request.headers["host"],
            "client": request.client is not None,
            "scheme": request.scheme,
        }

    return app


class Server:
    """uvicorn on a free port of the loopback, in a thread."""

    def __init__(self, app: Any, protocol: str) -> None:
        config = uvicorn.Config(
            app, http=protocol, port=0, log_config=None, access_log=False, server_header=False, lifespan="on"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.started = threading.Event()
        startup = self.server.startup

        async def announce(sockets: Any = None) -> None:
            await startup(sockets)
            self.started.set()

        self.server.startup = announce  # type: ignore[method-assign]

    def __enter__(self) -> int:
        self.thread.start()
        assert self.started.wait(30)
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(30)


@contextmanager
def serving(app: Any, protocol: str) -> Iterator[int]:
    with Server(app, protocol) as port:
        yield port


@pytest.fixture(scope="module")
def lane() -> Iterator[int]:
    with serving(build(), "fastlane.server.protocol:LaneProtocol") as port:
        yield port


@pytest.fixture(scope="module")
def plain() -> Iterator[int]:
    """The same app behind a function, so that nothing but ASGI can reach it."""
    app = build()

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    with serving(wrapped, "fastlane.server.protocol:LaneProtocol") as port:
        yield port


@pytest.fixture(scope="module")
def httptools() -> Iterator[int]:
    with serving(build(), "httptools") as port:
        yield port


def ask(port: int, method: str, target: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("host", "example.org")
        for name, value in headers.items():
            for item in value.split("\n"):
                connection.putheader(name, item)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        sent = sorted(
            (name.lower(), value)
            for name, value in response.getheaders()
            if name.lower() not in ("date", "server", "connection")
        )
        return response.status, sent, response.read()
    finally:
        connection.close()


JSON = {"content-type": "application/json"}
ITEM = b'{"name": "a", "price": 1.5, "tags": ["x"]}'

CASES: dict[str, tuple[str, str, dict[str, str], bytes | None]] = {
    "hello": ("GET", "/hello", {}, None),
    "hello with a query": ("GET", "/hello?a=b", {}, None),
    "hello with a body nobody asked for": ("GET", "/hello", {}, b"what?"),
    "head": ("HEAD", "/hello", {}, None),
    "automatic options": ("OPTIONS", "/items", {}, None),
    "options of everything": ("OPTIONS", "*", {}, None),
    "plain def": ("GET", "/sync?n=41", {}, None),
    "inline def": ("GET", "/inline", {}, None),
    "handler that waits": ("GET", "/waits", {}, None),
    "path and query": ("GET", "/items/7?colour=blue&q=a%20b+c", {}, None),
    "head of a dynamic path": ("HEAD", "/items/7", {}, None),
    "wrong path value": ("GET", "/items/x", {}, None),
    "two wrong values": ("GET", "/items/x?colour=green", {}, None),
    "uuid": ("GET", "/things/00000000-0000-0000-0000-000000000001", {}, None),
    "tail": ("GET", "/files/a/b%2Fc//d", {}, None),
    "encoded static path": ("GET", "/h%65llo", {}, None),
    "other slash": ("GET", "/hello/", {}, None),
    "double slash": ("GET", "//hello", {}, None),
    "nowhere": ("GET", "/nowhere", {}, None),
    "wrong method": ("PATCH", "/hello", {}, None),
    "wrong method with a body": ("PATCH", "/hello", JSON, b"{}"),
    "path that is no utf-8": ("GET", "/items/%ff", {}, None),
    "path with nul": ("GET", "/files/%00", {}, None),
    "query structure": ("GET", "/filter?text=a&limit=5", {}, None),
    "wrong query structure": ("GET", "/filter?limit=500", {}, None),
    "query that is no utf-8": ("GET", "/filter?text=%ff", {}, None),
    "repeated query and headers": ("GET", "/many?ids=1&ids=2", {"x-tag": "a\nb, c"}, None),
    "wrong items of a list": ("GET", "/many?ids=1&ids=x&ids=y", {}, None),
    "created": ("POST", "/items?dry=on", {**JSON, "x-author": "me"}, ITEM),
    "charset of a type": (
        "POST",
        "/items",
        {"content-type": "application/json; charset=utf-8", "x-author": "me"},
        ITEM,
    ),
    "json labelled as msgpack": ("POST", "/items", {"content-type": "application/msgpack", "x-author": "me"}, ITEM),
    "msgpack labelled as json": (
        "POST",
        "/items",
        {**JSON, "x-author": "me"},
        msgspec.msgpack.encode({"name": "a"}),
    ),
    "a json type of its own": (
        "POST",
        "/items",
        {"content-type": "application/vnd.api+json", "x-author": "me"},
        ITEM,
    ),
    "msgpack body": (
        "POST",
        "/items",
        {"content-type": "application/msgpack", "x-author": "me"},
        msgspec.msgpack.encode({"name": "a"}),
    ),
    "everything wrong": ("POST", "/items?dry=maybe", JSON, b'{"name": "", "price": -1, "tags": [1, "a", null]}'),
    "missing field": ("POST", "/items", {**JSON, "x-author": "me"}, b"{}"),
    "header twice": ("POST", "/items", {**JSON, "x-author": "me\nyou"}, ITEM),
    "no json": ("POST", "/items", {**JSON, "x-author": "me"}, b"{nope"),
    "no utf-8 in json": ("POST", "/items", {**JSON, "x-author": "me"}, b'{"name": "\xff"}'),
    "deep nesting": ("POST", "/items", {**JSON, "x-author": "me"}, b'{"tags":' + b"[" * 50_000),
    "empty body": ("POST", "/items", {**JSON, "x-author": "me"}, b""),
    "no body": ("POST", "/items", {"x-author": "me"}, None),
    "no content type": ("POST", "/items", {"x-author": "me"}, ITEM),
    "wrong content type": ("POST", "/items", {"content-type": "text/plain", "x-author": "me"}, ITEM),
    "too large": ("POST", "/items", {**JSON, "x-author": "me"}, b" " * 100_001),
    "expectation": ("POST", "/items", {**JSON, "x-author": "me", "expect": "miracle"}, ITEM),
    "gathered": ("PUT", "/gather?page=2", {**JSON, "x-trace": "t"}, b'{"name": "n", "page": 3, "x_trace": "no"}'),
    "gathered, all wrong": ("PUT", "/gather", JSON, b'{"name": 1}'),
    "form": ("POST", "/form", {"content-type": "application/x-www-form-urlencoded"}, b"user=a+b&age=3"),
    "wrong form": ("POST", "/form", {"content-type": "application/x-www-form-urlencoded"}, b"age=x"),
    "raw": ("POST", "/raw", {"content-type": "image/png"}, b"\x00\xff"),
    "cookie": ("GET", "/cookie", {"cookie": "other=1; session=abc"}, None),
    "missing cookie": ("GET", "/cookie", {}, None),
    "deleted": ("DELETE", "/items/1", {}, None),
    "not found": ("GET", "/missing", {}, None),
    "conflict": ("GET", "/conflict", {}, None),
    "own exception handler": ("GET", "/teapot", {}, None),
    "bug": ("GET", "/broken", {}, None),
    "401 before 422": ("POST", "/guarded", JSON, b"{}"),
    "guarded": ("POST", "/guarded", {**JSON, "authorization": "me"}, ITEM),
    "yield dependency": ("GET", "/yields", {}, None),
    "response": ("GET", "/response", {}, None),
    "head of a response": ("HEAD", "/response", {}, None),
    "stream": ("GET", "/stream", {}, None),
    "head of a stream": ("HEAD", "/stream", {}, None),
    "stream that fails before its first piece": ("GET", "/fails/early", {}, None),
    "background": ("GET", "/later", {}, None),
    "packed": ("GET", "/packed", {"accept": "application/msgpack"}, None),
    "content of a middleware that nobody encodes": ("GET", "/replaced", {}, None),
    "status that is no answer": ("GET", "/statuses/101", {}, None),
    "status that does not exist": ("GET", "/statuses/700", {}, None),
    "stream whose status is no answer": ("GET", "/stream/100", {}, None),
    "context of a stream": ("GET", "/context/suspends/stream", {}, None),
    "context of a stream that nothing suspended": ("GET", "/context/never/stream", {}, None),
    "context of an exception handler": ("GET", "/context/suspends/failing", {}, None),
    "context of an exception handler that nothing suspended": ("GET", "/context/never/failing", {}, None),
    "seen": ("GET", "/seen?q=1", {}, None),
}


# What uvicorn's own protocol does otherwise, whatever the application.
OF_THE_LANE = {
    "options of everything",
    "expectation",
    "head of a stream",
    "stream that fails before its first piece",
}


@pytest.mark.parametrize("name", CASES)
def test_the_doors_agree(name: str, lane: int, plain: int) -> None:
    assert ask(lane, *CASES[name]) == ask(plain, *CASES[name])


@pytest.mark.parametrize("name", sorted(CASES.keys() - OF_THE_LANE))
def test_uvicorn_s_own_protocol_gets_the_same_answers(name: str, lane: int, httptools: int) -> None:
    assert ask(lane, *CASES[name]) == ask(httptools, *CASES[name])


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("hello", 200),
        ("head", 200),
        ("automatic options", 204),
        ("options of everything", 204),
        ("created", 201),
        ("json labelled as msgpack", 400),
        ("msgpack labelled as json", 400),
        ("a json type of its own", 201),
        ("msgpack body", 201),
        ("deleted", 204),
        ("no json", 400),
        ("path that is no utf-8", 400),
        ("deep nesting", 400),
        ("401 before 422", 401),
        ("nowhere", 404),
        ("other slash", 404),
        ("wrong method", 405),
        ("too large", 413),
        ("no content type", 415),
        ("wrong content type", 415),
        ("expectation", 417),
        ("wrong path value", 422),
        ("everything wrong", 422),
        ("empty body", 422),
        ("header twice", 422),
        ("own exception handler", 418),
        ("bug", 500),
        ("stream that fails before its first piece", 500),
    ],
)
def test_the_status_is_the_contract_s(name: str, status: int, lane: int) -> None:
    assert ask(lane, *CASES[name])[0] == status


def test_every_wrong_value_is_listed(lane: int) -> None:
    _, _, body = ask(lane, *CASES["everything wrong"])

    problem = msgspec.json.decode(body)
    found = {(error["in"], error["path"]) for error in problem["errors"]}

    assert found == {
        ("query", "dry"),
        ("header", "x-author"),
        ("body", "name"),
        ("body", "price"),
        ("body", "tags[0]"),
        ("body", "tags[2]"),
    }


def test_a_bug_s_text_never_reaches_a_client(lane: int, plain: int) -> None:
    for port in (lane, plain):
        assert b"secret" not in ask(port, *CASES["bug"])[2]


@pytest.mark.parametrize("protocol", ["fastlane.server.protocol:LaneProtocol", "httptools"])
@pytest.mark.parametrize("behind_asgi", [True, False])
def test_a_handler_learns_that_its_client_went_away(protocol: str, behind_asgi: bool) -> None:
    app = App()
    begun, gone = threading.Event(), threading.Event()

    @app.get("/")
    async def handler(request: Request) -> str:
        assert not await request.is_disconnected()
        begun.set()
        async with asyncio.timeout(30):
            while not await request.is_disconnected():
                await asyncio.sleep(0.001)
        gone.set()
        return ""

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    with serving(plain if behind_asgi else app, protocol) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n")
            assert begun.wait(30)
        assert gone.wait(30)


@pytest.mark.parametrize("prefix", ["suspends", "never"])
def test_what_a_handler_sets_in_its_context_reaches_what_comes_after_it(prefix: str, lane: int, plain: int) -> None:
    for port in (lane, plain):
        seen_later.clear()
        # Twice: nothing of it stays for the next request of the connection.
        for _ in range(2):
            assert ask(port, "GET", f"/context/{prefix}/stream", {}, None)[2] == f"nobody {prefix}".encode()
            assert ask(port, "GET", f"/context/{prefix}/failing", {}, None)[2] == f"nobody {prefix}".encode()
            assert ask(port, "GET", f"/context/{prefix}/later", {}, None)[2] == f"nobody {prefix}".encode()
        deadline = time.monotonic() + 30
        while len(seen_later) < 2 and time.monotonic() < deadline:
            ask(port, "GET", "/hello", {}, None)
        assert seen_later == [f"nobody {prefix}"] * 2


@pytest.mark.parametrize("second", ["suspends", "never"])
@pytest.mark.parametrize("first", ["suspends", "never"])
@pytest.mark.parametrize("kind", ["later", "failing", "stream"])
def test_a_pipelined_request_sees_nothing_of_the_one_before_it(
    kind: str, first: str, second: str, lane: int, plain: int
) -> None:
    requests = b"".join(
        b"GET /context/%b HTTP/1.1\r\nhost: example.org\r\n\r\n" % path.encode()
        for path in (f"{first}/{kind}", f"{second}/later", f"{second}/later")
    )
    for port in (lane, plain):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(requests)
            received = b""
            while received.count(b"nobody") < 3:
                data = client.recv(65536)
                assert data, received
                received += data
        assert received.count(f"nobody {second}".encode()) == 2 + (first == second)
        assert f"{first} {second}".encode() not in received
