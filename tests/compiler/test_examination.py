"""A request that does not fit is read again, value by value (DESIGN 4, REQUESTS 3)."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from fastlane.errors import BadRequest, HTTPError, InvalidArgument
from fastlane.params import Body, Cookie, Header, Query
from tests.compiler.requests import answer, compiled, errors, request

MSGPACK = {"content-type": "application/msgpack; charset=binary"}


class Tag(Struct):
    name: str


class Post(Struct):
    title: Annotated[str, Meta(min_length=1)]
    tags: list[Tag] = []
    likes: Annotated[int, Meta(ge=0)] = 0


async def create(
    post: Post,
    id: int,
    excitement: int,
    x_author: Annotated[str, Header()],
    session: Annotated[int, Cookie()],
    n: Annotated[list[int], Query()] = [],  # noqa: B006 - copied for every request
) -> str:
    return "created"


def refusal(endpoint: Any, **parts: Any) -> HTTPError:
    with pytest.raises(HTTPError) as caught:
        answer(endpoint, **parts)
    assert caught.value.__cause__ is None
    return caught.value


def test_every_wrong_value_is_named_with_its_source_and_name_on_the_wire() -> None:
    endpoint = compiled(create, "/{id}", methods="POST")
    error = refusal(
        endpoint,
        values=("x",),
        query="excitement=much&n=1&n=x",
        headers={"cookie": "session=y"},
        body=b'{"title":"","tags":[{"name":"a"},{}],"likes":-1}',
    )

    assert isinstance(error, InvalidArgument)
    assert error.detail == "8 parameters are invalid"
    found = error.extensions["errors"]
    assert [(entry["in"], entry["path"]) for entry in found] == [  # type: ignore[attr-defined]
        ("body", "title"),
        ("body", "tags[1].name"),
        ("body", "likes"),
        ("path", "id"),
        ("query", "excitement"),
        ("header", "x-author"),
        ("cookie", "session"),
        ("query", "n[1]"),
    ]
    assert "truncated" not in error.extensions


def test_one_wrong_value_is_said_in_the_singular() -> None:
    async def search(page: int) -> None: ...

    assert refusal(compiled(search), query="page=x").detail == "1 parameter is invalid"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b'{"title":"t"', {}),
        (b"\xef\xbb\xbf{}", {}),
        (b'{"title":"\xff"}', {}),
        (b'{"unknown":"\xff","title":"t","likes":"x"}', {}),
        (b'{"title":"t"}x', {}),
        (b"[" * 100_000, {}),
        (b"\x81", {"content-type": "application/json"}),
        (b"\x81", MSGPACK),
        (b"\xc1", MSGPACK),
        (b"not msgpack", MSGPACK),
        (b"\x91" * 100_000, MSGPACK),
    ],
    ids=range(12),
)
def test_a_body_that_cannot_be_decoded_is_a_400_and_wins(body: bytes, headers: dict[str, str]) -> None:
    error = refusal(compiled(create, "/{id}", methods="POST"), values=("x",), body=body, headers=headers)

    assert isinstance(error, BadRequest)
    assert error.detail.startswith("the body is no valid " + ("MessagePack" if headers == MSGPACK else "JSON"))


@pytest.mark.parametrize("query", [b"q=%ff", b"q=\xff", b"q=" + b"&q=" * 1001])
def test_a_query_that_cannot_be_read_is_a_400(query: bytes) -> None:
    async def search(q: str, n: int = 0) -> None: ...

    async def search_many(q: list[str]) -> None: ...

    for handler in (search, search_many):
        assert refusal(compiled(handler), query=query).status == 400


def test_an_empty_body_where_one_is_needed_is_a_422() -> None:
    async def make(post: Post) -> None: ...

    assert errors(compiled(make, methods="POST")) == [("body", "", "Missing required body")]


def test_a_body_with_a_default_or_none_may_be_missing() -> None:
    default = Post("default")

    async def make(post: Post = default) -> str:
        return post.title

    async def maybe(post: Post | None) -> bool:
        return post is None

    async def number(n: Annotated[int, Body()] = 3) -> int:
        return n

    async def checked(page: int, post: Post | None = None) -> None: ...

    assert answer(compiled(make, methods="POST")).strip(b'"') == b"default"
    assert answer(compiled(maybe, methods="POST")) == b"true"
    assert answer(compiled(maybe, methods="POST"), body=b"null") == b"true"
    assert answer(compiled(maybe, methods="POST"), body=b'{"title":"t"}') == b"false"
    assert answer(compiled(number, methods="POST")) == b"3"
    assert answer(compiled(number, methods="POST"), body=b"4") == b"4"
    assert [entry[0] for entry in errors(compiled(checked, methods="POST"))] == ["query"]


def test_a_mutable_default_of_a_body_is_made_anew() -> None:
    async def make(posts: Annotated[list[int], Body()] = [], page: int = 0) -> list[int]:  # noqa: B006 - the point
        posts.append(1)
        return posts

    endpoint = compiled(make, methods="POST")
    assert answer(endpoint) == answer(endpoint) == b"[1]"
    assert errors(endpoint, query="page=x") == [("query", "page", "Expected `int`, got `str`")]


def test_message_pack_by_content_type() -> None:
    async def make(post: Post) -> str:
        return post.title

    async def number(n: Annotated[int, Body()]) -> int:
        return n

    endpoint = compiled(make, methods="POST")
    assert endpoint.body is not None
    assert endpoint.body.media_types is not None
    assert {"application/json", "application/msgpack", "application/x-msgpack"} <= endpoint.body.media_types
    assert answer(endpoint, body=msgspec.msgpack.encode({"title": "t"}), headers=MSGPACK).strip(b'"') == b"t"
    found = errors(endpoint, body=msgspec.msgpack.encode({"title": 1}), headers=MSGPACK)
    assert found == [("body", "title", "Expected `str`, got `int`")]
    scalar = compiled(number, methods="POST")
    assert answer(scalar, body=b"7") == b"7"
    assert answer(scalar, body=b"7", headers=MSGPACK) == b"55"  # 0x37 is a number in MessagePack


def test_a_header_that_stands_twice_is_wrong_where_one_is_asked_for() -> None:
    async def show(x_token: Annotated[str, Header()]) -> None: ...

    assert errors(compiled(show), headers={"x-token": ["a", "b"]}) == [
        ("header", "x-token", "Expected one value, got 2")
    ]


def test_a_fixed_tuple_of_the_wrong_length_is_one_error() -> None:
    async def search(pair: tuple[int, str]) -> None: ...

    endpoint = compiled(search)
    assert errors(endpoint, query="pair=1") == [("query", "pair", "Expected `array` of length 2, got 1")]
    assert errors(endpoint, query="pair=x&pair=y") == [("query", "pair[0]", "Expected `int`, got `str`")]


def test_a_list_of_the_wrong_length_is_one_error() -> None:
    async def search(n: Annotated[list[int], Meta(max_length=1)]) -> None: ...

    assert errors(compiled(search), query="n=1&n=2") == [("query", "n", "Expected `array` of length <= 1")]


def test_the_list_of_errors_is_bounded_and_says_so() -> None:
    async def search(n: list[int]) -> None: ...

    error = refusal(compiled(search), query="&".join(["n=x"] * 150))
    assert len(error.extensions["errors"]) == 100  # type: ignore[arg-type]
    assert error.extensions["truncated"] is True
    assert error.detail == "at least 100 parameters are invalid"


def test_a_body_with_very_many_wrong_values_is_bounded_too() -> None:
    async def make(post: Annotated[list[int], Body()]) -> None: ...

    error = refusal(compiled(make, methods="POST"), body=b"[" + b",".join([b'"x"'] * 50_000) + b"]")
    assert len(error.extensions["errors"]) == 100  # type: ignore[arg-type]
    assert error.extensions["truncated"] is True


def test_where_the_walk_finds_nothing_the_decoders_own_message_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlane.compiler.examination.wrong_values", lambda *args, **kwargs: ([], False))

    async def make(post: Post) -> None: ...

    endpoint = compiled(make, methods="POST")
    assert errors(endpoint, body=b'{"title":1}') == [("body", "title", "Expected `str`, got `int`")]
    assert errors(endpoint, body=b'{"title":"t","tags":[{}]}') == [
        ("body", "tags[0].name", "Object missing required field `name`")
    ]
    assert errors(endpoint, body=b"{}") == [("body", "title", "Object missing required field `title`")]
    assert errors(endpoint, body=b"[]") == [("body", "", "Expected `object`, got `array`")]


def test_a_fault_that_cannot_be_found_again_is_what_it_was() -> None:
    """A hook that fails once: the error of the first reading is the answer."""
    calls = 0

    class Flaky(Struct):
        n: int

        def __post_init__(self) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ValueError("only once")

    class Crashing(Struct):
        n: int

        def __post_init__(self) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ZeroDivisionError("and its cause") from KeyError("x")

    async def make(flaky: Flaky) -> None: ...

    async def crash(it: Crashing) -> None: ...

    assert errors(compiled(make, methods="POST"), body=b'{"n":1}') == [("body", "", "only once")]
    calls = 0
    with pytest.raises(ZeroDivisionError, match="cause"):
        answer(compiled(crash, methods="POST"), body=b'{"n":1}')


def test_an_http_error_of_a_hook_is_answered_as_it_is() -> None:
    class Guarded(Struct):
        n: int

        def __post_init__(self) -> None:
            raise HTTPError(418, "teapot")

    async def search(guarded: Guarded) -> None: ...

    assert refusal(compiled(search), query="n=1").status == 418


def test_the_examination_reads_defaults_of_gathered_fields() -> None:
    class Gather(Struct):
        token: Annotated[str, Header()]
        page: Annotated[int, Query()] = 1
        tags: Annotated[list[int], Query()] = []
        title: str = "t"
        body_tags: list[str] = []

        def __post_init__(self) -> None:
            raise ValueError(f"{self.page} {self.tags} {self.title} {self.body_tags}")

    async def make(gather: Gather) -> None: ...

    endpoint = compiled(make, methods="POST")
    assert errors(endpoint, headers={"token": "x"}) == [("body", "", "1 [] t []")]
    assert errors(endpoint, headers={"token": "x"}, body=b'{"title":3}') == [
        ("body", "title", "Expected `str`, got `int`")
    ]


def test_a_request_that_fits_is_never_examined() -> None:
    async def search(page: int) -> int:
        return page

    endpoint = compiled(search)
    endpoint.call.__globals__["examine"] = None  # type: ignore[attr-defined]
    assert endpoint.call(request(query="page=3")) == b"3"
