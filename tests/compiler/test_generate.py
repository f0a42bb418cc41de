"""The generated function: readable, in linecache, and nothing in it that the route did not ask for."""

import asyncio
import linecache
import traceback
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from fastlane.compiler import Environment, RouteSpec, UnresolvedName, compile_endpoint
from fastlane.errors import BadRequest, CompileError
from fastlane.http.background import BackgroundTasks
from fastlane.http.query import parse_query
from fastlane.http.request import Request
from fastlane.http.response import Response
from fastlane.params import Body, Depends, Form, Header
from tests.compiler.requests import answer, compiled, request


class Post(Struct):
    title: str


def test_hello_is_one_line_and_needs_no_request() -> None:
    async def hello() -> dict[str, str]:
        return {"message": "hi"}

    endpoint = compiled(hello)
    assert endpoint.source.splitlines()[:2] == ["def call_hello(request):", "    value = hello()"]
    assert endpoint.source.splitlines()[2].startswith("    return encode")
    assert endpoint.source.count("\n") == 3
    assert not endpoint.needs_request
    assert not endpoint.suspends
    assert endpoint.body is None
    assert endpoint.call(None) == b'{"message":"hi"}'  # type: ignore[arg-type]


def test_a_route_with_every_usual_source_reads_like_handwritten() -> None:
    async def create_post(new: Post, x_author: Annotated[str, Header()], dry: bool, page: int = 1) -> Post:
        return new

    source = compiled(create_post, "/posts", methods="POST").source
    assert (
        source.rpartition("    return ")[0]
        == """\
def call_create_post(request):
    try:
        head = request.head
        dry_text = page_text = None
        query = head.query_string.decode()
        if "%" in query or "+" in query or len(query) > 999:
            query = parse_query(head.query_string)
            dry_text = query.get('dry')
            page_text = query.get('page')
        else:
            for field in query.split("&"):
                name, _, text = field.partition("=")
                if name == 'dry':
                    dry_text = text
                elif name == 'page':
                    page_text = text
        raw = request.raw_body
        new = unpack_new(raw) if head.is_msgpack else read_new(raw)
        x_author = head.header(b'x-author').decode("latin-1")
        dry = booleans[dry_text]
        page = 1 if page_text is None else read_page(page_text) if page_text.isalnum() else decode_page(page_text)
    except Exception as error:
        examine(request, error)
        raise
    value = create_post(new, x_author, dry, page)
"""
    )


def test_a_suspending_handler_is_awaited() -> None:
    async def slow() -> int:
        return await later()

    endpoint = compiled(slow)
    assert endpoint.source.startswith("async def call_slow(request):\n    value = await slow()\n    return ")
    assert answer(endpoint) == b"1"


async def later() -> int:
    return 1


def test_many_query_values_are_looked_up_in_a_dict() -> None:
    async def search(a: int, b: int, c: int, d: int, e: int, f: str = "f") -> list[Any]:
        return [a, b, c, d, e, f]

    endpoint = compiled(search)
    assert "for field" not in endpoint.source
    assert answer(endpoint, query="a=1&b=2&c=3&d=4&e=5") == b'[1,2,3,4,5,"f"]'


@pytest.mark.parametrize("query", ["q=a&n=1", "n=1&q=a&x=y", "q=%61&n=1", "n=0&n=1&q=b&q=a", "q=a&n=1&" + "x" * 1000])
def test_a_query_reads_the_same_on_the_quick_and_the_thorough_way(query: str) -> None:
    async def search(q: str, n: int) -> list[Any]:
        return [q, n]

    assert answer(compiled(search), query=query) == b'["a",1]'


@given(
    st.lists(
        st.tuples(st.sampled_from(["q", "n", "q%20", "qq", ""]), st.sampled_from(["", "=", "=="]), st.text()),
        max_size=5,
    ),
    st.sampled_from(["&", "&&", ";"]),
)
def test_the_loop_over_a_query_finds_what_parsing_finds(fields: list[tuple[str, str, str]], separator: str) -> None:
    raw = separator.join(name + equals + text for name, equals, text in fields).encode("utf-8", "surrogatepass")
    try:
        parsed = parse_query(raw)
    except BadRequest:
        with pytest.raises(BadRequest):
            SEARCH.call(request(query=raw))
        return

    assert SEARCH.call(request(query=raw)) == msgspec.json.encode([parsed.get("q"), parsed.get("n")])


async def search_two(q: str | None, n: str | None) -> list[Any]:
    return [q, n]


SEARCH: Any = compiled(search_two)


def test_the_traceback_of_a_handler_shows_the_generated_line() -> None:
    async def fails(id: int) -> None:
        raise KeyError(id)

    endpoint = compiled(fails, "/things/{id}", methods=("GET", "HEAD"))
    with pytest.raises(KeyError) as caught:
        answer(endpoint, values=("3",))
    generated, own = traceback.extract_tb(caught.value.__traceback__)[-2:]
    assert generated.filename.startswith("<fastlane GET/HEAD /things/{id}")
    assert (generated.name, generated.line) == ("call_fails", "value = fails(id)")
    assert own.name == "fails"


def test_two_routes_of_the_same_name_have_lines_of_their_own() -> None:
    async def one() -> int:
        return 1

    async def two() -> int:
        return 2

    first, second, again = (compiled(handler, "/same-name") for handler in (one, two, one))
    files = [endpoint.call.__code__.co_filename for endpoint in (first, second, again)]  # type: ignore[attr-defined]
    assert files[0] != files[1]
    assert files[0] == files[2]
    linecache.checkcache()
    assert linecache.getline(files[1], 2).strip() == "value = two()"


def test_status_and_headers_are_the_encoders() -> None:
    async def create() -> dict[str, int]:
        return {}

    endpoint = compiled(create, status=201)
    assert endpoint.status == 201
    assert (b"content-type", b"application/json") in endpoint.headers
    assert isinstance(endpoint.headers, tuple)


def test_the_body_rule_has_the_nearest_limit() -> None:
    async def handler(post: Post) -> None: ...

    async def marked(data: Annotated[bytes, Body(max_size=5)]) -> None: ...

    def limit(handler: Any, **spec: Any) -> int | None:
        body = compiled(handler, methods="POST", environment=Environment(max_body=100), **spec).body
        assert body is not None
        return body.max_size

    assert limit(handler) == 100
    assert limit(handler, max_body=50) == 50
    assert limit(handler, max_body=None) is None
    assert limit(marked, max_body=50) == 5
    assert Environment().max_body == 1024 * 1024


def test_a_relaxed_route_takes_a_body_without_a_content_type() -> None:
    async def handler(post: Post) -> None: ...

    async def form(name: Annotated[str, Form()]) -> None: ...

    for each in (handler, form):
        body = compiled(each, methods="POST", strict_content_type=False).body
        assert body is not None
        assert body.media_types is not None
        assert "" in body.media_types


# ---------------------------------------------------------------- background tasks


def test_background_tasks_are_attached_to_the_answer() -> None:
    done: list[str] = []

    async def handler(tasks: BackgroundTasks, add: bool) -> dict[str, int]:
        if add:
            tasks.add(done.append, "task")
        return {"n": 1}

    endpoint = compiled(handler, status=201)
    assert answer(endpoint, query="add=0") == b'{"n":1}'
    response = answer(endpoint, query="add=1")
    assert isinstance(response, Response)
    assert (response.status, response.body) == (201, b'{"n":1}')
    assert (b"content-type", b"application/json") in response.raw_headers
    assert response.background is not None
    assert len(response.background) == 1


def test_tasks_of_a_dependency_and_of_a_response_are_kept_in_order() -> None:
    order: list[int] = []

    def dependency(tasks: BackgroundTasks) -> None:
        tasks.add(order.append, 2)

    async def handler(tasks: BackgroundTasks) -> Any:
        tasks.add(order.append, 3)
        own = BackgroundTasks()
        own.add(order.append, 1)
        return Response("x", background=own)

    async def without(tasks: BackgroundTasks) -> Any:
        tasks.add(order.append, 4)
        return Response("x")

    spec: dict[str, Any] = {"dependencies": (Depends(dependency, inline=True),)}
    endpoint = compiled(handler, **spec)
    endpoint.call.__globals__["encode"] = lambda value: value  # type: ignore[attr-defined]

    async def run(response: Any) -> None:
        await response.background()

    asyncio.run(run(answer(endpoint)))
    assert order == [1, 2, 3]
    endpoint = compiled(without)
    endpoint.call.__globals__["encode"] = lambda value: value  # type: ignore[attr-defined]
    asyncio.run(run(answer(endpoint)))
    assert order == [1, 2, 3, 4]


# ---------------------------------------------------------------- names


def test_odd_names_make_valid_source() -> None:
    async def handler(naïve: Annotated[int, Header("x-n")], match: int, type: int) -> list[int]:
        return [naïve, match, type]

    async def lambda_(x: Annotated[int, Depends(lambda: 3, inline=True)]) -> int:
        return x

    handler.__name__ = handler.__qualname__ = "2 words"
    assert answer(compiled(handler), query="match=1&type=2", headers={"x-n": "3"}) == b"[3,1,2]"
    assert answer(compiled(lambda_)) == b"3"


def test_the_request_alone_is_read_without_a_try() -> None:
    async def handler(request: Request) -> bool:
        return request is not None

    endpoint = compiled(handler)
    assert endpoint.source.startswith("def call_handler(request):\n    value = handler(request)\n    return ")
    assert endpoint.needs_request


def test_an_encoders_expression_is_pasted_with_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Inline:
        status = 200
        headers = [(b"content-type", b"text/plain")]
        encode = bytes
        inline = "value.encode(charset)"
        negotiates = False
        namespace = {"charset": "utf-8"}

    monkeypatch.setattr("fastlane.compiler.compile_encoder", lambda *args, **kwargs: Inline())

    async def handler(charset: str) -> str:
        return charset

    async def closes(x: Annotated[str, Depends(yields, inline=True)]) -> str:
        return x

    endpoint = compiled(handler)
    assert "    value = handler(charset_2)\n    return value.encode(charset)\n" in endpoint.source
    assert answer(endpoint, query="charset=x") == b"x"
    assert answer(compiled(closes)) == b"x"


def yields() -> Any:
    yield "x"


def test_an_encoder_without_an_expression_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        status = 200
        headers = ()
        encode = staticmethod(msgspec.json.encode)
        inline = None
        negotiates = False
        namespace: dict[str, Any] = {}

    monkeypatch.setattr("fastlane.compiler.compile_encoder", lambda *args, **kwargs: Bare())

    async def handler() -> int:
        return 1

    endpoint = compiled(handler)
    assert endpoint.source == "def call_handler(request):\n    return encode(handler())\n"
    assert answer(endpoint) == b"1"


def test_an_encoders_name_that_is_taken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clash:
        status = 200
        headers = ()
        encode = bytes
        inline = "request"
        negotiates = False
        namespace = {"request": 1}

    monkeypatch.setattr("fastlane.compiler.compile_encoder", lambda *args, **kwargs: Clash())

    async def handler() -> str:
        return ""

    with pytest.raises(Exception, match="the encoder's name 'request' is taken"):
        compile_endpoint(RouteSpec("/", handler), Environment())


def test_a_return_type_that_cannot_be_encoded_is_an_import_error_of_the_handler() -> None:
    async def handler() -> complex:
        return 1j

    with pytest.raises(CompileError, match="complex") as caught:
        compiled(handler)
    assert (caught.value.file, caught.value.handler) == (__file__, handler.__qualname__)
    assert caught.value.mend


async def returns_what_comes_later() -> "list[Later]":  # noqa: F821
    return []


def test_a_return_type_that_does_not_exist_yet_is_unresolved() -> None:
    class Outer(Struct):
        later: "Later"  # noqa: F821

    async def handler() -> Outer: ...  # type: ignore[empty-body]

    for each in (handler, returns_what_comes_later):
        with pytest.raises(UnresolvedName, match="Later"):
            compiled(each)


def test_a_route_that_produces_two_formats_is_asked_for_one() -> None:
    async def show() -> dict[str, int]:
        return {"n": 1}

    endpoint = compiled(show, produces="msgpack")
    assert endpoint.needs_request
    assert (b"vary", b"accept") in endpoint.headers
    as_json = answer(endpoint, headers={"accept": "application/json"})
    as_msgpack = answer(endpoint, headers={"accept": "application/msgpack"})
    assert {getattr(as_json, "body", as_json), getattr(as_msgpack, "body", as_msgpack)} == {
        b'{"n":1}',
        msgspec.msgpack.encode({"n": 1}),
    }
