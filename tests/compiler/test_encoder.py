"""What a handler returns, and what is sent."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest
from msgspec import Meta, Struct

from fastlane.compiler.encoder import Encoder, compile_encoder
from fastlane.compiler.narrow import UnfitResult
from fastlane.errors import CompileError, Internal
from fastlane.http.response import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
OCTETS = (b"content-type", b"application/octet-stream")
MSGPACK = (b"content-type", b"application/msgpack")
VARY = (b"vary", b"accept")
UNANNOTATED = inspect.Parameter.empty


class User(Struct):
    id: int


class Account(User):
    password: str = "secret"


class Cat(Struct):
    name: str


Title = NewType("Title", str)


def send(encoder: Encoder, value: Any, *accept: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body, as a door would send them; the inlined expression must agree with the call."""
    result = encoder.encode(value, accept) if encoder.negotiates else encoder.encode(value)
    if encoder.inline is not None:
        inlined = eval(encoder.inline, {**encoder.namespace, "value": value})
        assert type(inlined) is type(result)
        assert isinstance(result, Response) or inlined == result
    if isinstance(result, bytes):
        return encoder.status, list(encoder.headers), result
    return result.status, result.raw_headers, result.body


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize(
    ("annotation", "value", "status", "headers", "body"),
    [
        (User, User(1), 200, [JSON], b'{"id":1}'),
        (User, Account(1), 200, [JSON], b'{"id":1}'),
        (User | None, None, 200, [JSON], b"null"),
        (list[User], [User(1), Account(2)], 200, [JSON], b'[{"id":1},{"id":2}]'),
        (dict[str, str], {"a": "b"}, 200, [JSON], b'{"a":"b"}'),
        (tuple[int, str], (1, "a"), 200, [JSON], b'[1,"a"]'),
        (int, 3, 200, [JSON], b"3"),
        (Annotated[int, Meta(ge=0)], 3, 200, [JSON], b"3"),
        (list[Any], [1, "a"], 200, [JSON], b'[1,"a"]'),
        (msgspec.Raw, msgspec.Raw(b"[1]"), 200, [JSON], b"[1]"),
        (User | Cat, Cat("a"), 200, [JSON], b'{"name":"a"}'),
        (None, None, 204, [], b""),
        (str, "ä", 200, [TEXT], "ä".encode()),
        (Title, "a", 200, [TEXT], b"a"),
        (Annotated[str, Meta(max_length=3)], "a", 200, [TEXT], b"a"),
        (Literal["a", "b"], "a", 200, [TEXT], b"a"),
        (Literal[1, 2], 2, 200, [JSON], b"2"),
        (str | None, "a", 200, [TEXT], b"a"),
        (str | None, None, 200, [JSON], b"null"),
        (bytes, b"\xff", 200, [OCTETS], b"\xff"),
        (bytes, bytearray(b"\xff"), 200, [OCTETS], b"\xff"),
        (bytes | None, None, 200, [JSON], b"null"),
        (str | bytes, "a", 200, [TEXT], b"a"),
        (str | bytes, b"a", 200, [OCTETS], b"a"),
        (str | User, "a", 200, [TEXT], b"a"),
        (str | User, Account(1), 200, [JSON], b'{"id":1}'),
        (bytes | User, b"a", 200, [OCTETS], b"a"),
        (UNANNOTATED, {"a": 1}, 200, [JSON], b'{"a":1}'),
        (UNANNOTATED, [1], 200, [JSON], b"[1]"),
        (UNANNOTATED, User(1), 200, [JSON], b'{"id":1}'),
        (UNANNOTATED, "a", 200, [TEXT], b"a"),
        (UNANNOTATED, b"a", 200, [OCTETS], b"a"),
        (UNANNOTATED, None, 204, [], b""),
        (Any, 3, 200, [JSON], b"3"),
        (object, 3, 200, [JSON], b"3"),
    ],
)
def test_the_annotation_decides_status_type_and_body(validate, annotation, value, status, headers, body):
    assert send(compile_encoder(annotation, validate=validate), value) == (status, headers, body)


@pytest.mark.parametrize(
    ("annotation", "value", "status", "headers", "body"),
    [
        (User, User(1), 201, [JSON], b'{"id":1}'),
        (None, None, 200, [], b""),
        (None, None, 205, [], b""),
        (str, "a", 202, [TEXT], b"a"),
        (str | None, None, 202, [JSON], b"null"),
        (UNANNOTATED, {}, 201, [JSON], b"{}"),
        (UNANNOTATED, None, 201, [], b""),
        (UNANNOTATED, "a", 201, [TEXT], b"a"),
        (UNANNOTATED, None, 204, [], b""),
        (Response, None, 204, [], b""),
    ],
)
def test_the_route_s_status_is_kept(annotation, value, status, headers, body):
    assert send(compile_encoder(annotation, status=status), value) == (status, headers, body)


@pytest.mark.parametrize("annotation", [User, str, bytes, int, User | None, Response[User]])
@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body_forbids_one(annotation, status):
    with pytest.raises(CompileError, match=f"status={status} forbids a body"):
        compile_encoder(annotation, status=status)


@pytest.mark.parametrize("status", [0, 101, 199, 600])
def test_a_status_must_be_one(status):
    with pytest.raises(CompileError, match="no status of an answer"):
        compile_encoder(None, status=status)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (None, 3),
        (str, 3),
        (str, None),
        (bytes, "a"),
        (str, b"a"),
        (User, 3),
        (User, None),
        (Response[str], Response({"a": 1})),
    ],
)
def test_what_is_not_declared_does_not_leave(annotation, value):
    with pytest.raises(Internal) as caught:
        compile_encoder(annotation).encode(value)
    assert caught.value.problem() == {
        "type": "about:blank", "title": "Internal Server Error", "status": 500, "code": "internal",
    }  # fmt: skip
    assert isinstance(caught.value.__cause__, UnfitResult)

    with pytest.raises(UnfitResult, match=r"the handler declares .* and returned"):
        compile_encoder(annotation, validate=True).encode(value)


def test_a_value_that_needs_a_body_is_refused_where_the_status_forbids_one():
    with pytest.raises(Internal):
        compile_encoder(UNANNOTATED, status=204).encode({"a": 1})


def test_what_nobody_can_encode_is_a_fault_of_the_handler():
    with pytest.raises(TypeError):
        compile_encoder(UNANNOTATED).encode(object())


# -- responses


def test_a_response_passes_every_annotation():
    for annotation in (User, str, None, UNANNOTATED, Response, HTMLResponse, User | RedirectResponse):
        response = HTMLResponse("<p>", 418)
        assert compile_encoder(annotation).encode(response) is response
        assert (response.status, response.body) == (418, b"<p>")


def test_a_streaming_response_is_left_alone():
    response = StreamingResponse([b"a"], media_type="text/csv")

    assert compile_encoder(StreamingResponse).encode(response) is response
    assert compile_encoder(User).encode(response) is response


def test_the_content_of_a_response_is_narrowed_to_what_it_holds():
    encoder = compile_encoder(Response[User])

    assert send(encoder, Response(Account(1), 201, {"location": "/1"})) == (
        201,
        [(b"location", b"/1"), JSON],
        b'{"id":1}',
    )
    assert send(encoder, Response(Account(1), 400))[2] == b'{"id":1}'
    assert send(encoder, JSONResponse(Account(1)))[2] == b'{"id":1}'
    assert send(encoder, Response())[2] == b""
    with pytest.raises(Internal):
        encoder.encode(Response({"no": "user"}))


def test_a_response_where_a_value_was_declared_is_narrowed_unless_it_tells_of_an_error():
    encoder = compile_encoder(User)

    assert send(encoder, Response(Account(1), 201))[2] == b'{"id":1}'
    assert send(encoder, Response({"sorry": "no"}, 404)) == (404, [JSON], b'{"sorry":"no"}')
    assert send(encoder, JSONResponse({"sorry": "no"}, 404))[2] == b'{"sorry":"no"}'


def test_a_bare_response_is_encoded_as_json_at_once():
    response = Response({"a": 1})

    assert compile_encoder(Response).encode(response) is response
    assert response.is_encoded
    with pytest.raises(TypeError):
        compile_encoder(Response).encode(Response(object()))
    with pytest.raises(TypeError):
        compile_encoder(None).encode(Response(object()))


def test_a_response_may_hold_none():
    encoder = compile_encoder(Response[User | None])

    assert send(encoder, Response(None)) == (200, [JSON], b"null")
    assert send(encoder, Response(None, 204)) == (204, [], b"")
    assert send(encoder, Response(None, media_type="application/hal+json"))[1:] == (
        [(b"content-type", b"application/hal+json")],
        b"null",
    )
    assert send(encoder, RedirectResponse("/")) == (307, [(b"location", b"/")], b"")


def test_text_in_a_response_is_text():
    assert send(compile_encoder(Response[str]), Response("a")) == (200, [TEXT], b"a")
    assert send(compile_encoder(PlainTextResponse), PlainTextResponse("a"))[2] == b"a"


# -- media types


def test_produces_names_the_type_of_text_and_octets():
    assert compile_encoder(str, produces="text/html").headers == ((b"content-type", b"text/html"),)
    assert send(compile_encoder(bytes, produces="image/png"), b"\x89") == (
        200,
        [(b"content-type", b"image/png")],
        b"\x89",
    )
    assert send(compile_encoder(UNANNOTATED, produces="text/csv"), "a,b")[1] == [(b"content-type", b"text/csv")]
    assert send(compile_encoder(UNANNOTATED, produces="image/png"), b"a")[1] == [(b"content-type", b"image/png")]
    assert send(compile_encoder(str | bytes, produces="text/csv"), b"a,b")[1] == [(b"content-type", b"text/csv")]


def test_produces_may_be_a_kind_of_json():
    assert compile_encoder(User, produces="application/vnd.api+json").headers == (
        (b"content-type", b"application/vnd.api+json"),
    )
    assert not compile_encoder(User, produces="application/json").negotiates
    response = send(compile_encoder(Response[User], produces="application/hal+json"), Response(User(1)))
    assert response[1] == [(b"content-type", b"application/hal+json")]


def test_a_structure_can_t_be_any_type():
    with pytest.raises(CompileError, match="produces='text/html' does not go with User"):
        compile_encoder(User, produces="text/html")


@pytest.mark.parametrize("produces", ["msgpack", "application/msgpack", "application/x-msgpack"])
@pytest.mark.parametrize("validate", [False, True])
def test_messagepack_is_sent_unless_the_client_likes_json_better(produces, validate):
    encoder = compile_encoder(User, produces=produces, validate=validate)
    packed = msgspec.msgpack.encode({"id": 1})

    for accept in ([], [b"*/*"], [b"application/msgpack"], [b"text/html"], [b"application/json;q=0.5, */*"]):
        assert send(encoder, Account(1), *accept) == (200, [MSGPACK, VARY], packed)
    for accept in ([b"application/json"], [b"application/json, application/msgpack;q=0.1"]):
        assert send(encoder, Account(1), *accept) == (200, [JSON, VARY], b'{"id":1}')


def test_a_response_is_negotiated_too():
    encoder = compile_encoder(Response[User], produces="msgpack")

    assert send(encoder, Response(Account(1))) == (200, [MSGPACK, VARY], msgspec.msgpack.encode({"id": 1}))
    assert send(encoder, Response(Account(1)), b"application/json") == (200, [JSON, VARY], b'{"id":1}')
    assert send(encoder, Response(b"x"))[1:] == ([OCTETS, VARY], b"x")


# -- what can't be compiled


@pytest.mark.parametrize(
    ("annotation", "mend"),
    [
        (list[User | Cat], "give the Structs of a union tags"),
        (list[object] | set[int] | tuple[int, ...], "give the Structs of a union tags"),
        (AsyncIterator[bytes], "StreamingResponse"),
        (Iterable[User], "list"),
        (complex, "use a Struct"),
        (dict[str, list[complex]], "use a Struct"),
        (list[int] | list[str], "give the Structs of a union tags"),
    ],
)
def test_what_can_t_be_encoded_is_refused_with_a_mend(annotation, mend):
    with pytest.raises(CompileError) as caught:
        compile_encoder(annotation)

    assert mend in caught.value.mend


# -- for a schema


@pytest.mark.parametrize(
    ("annotation", "body"),
    [
        (User, User),
        (Response[User], User),
        (User | RedirectResponse, User),
        (User | None, User | None),
        (None, type(None)),
        (str, str),
        (bytes, bytes),
        (UNANNOTATED, Any),
        (Response, Any),
    ],
)
def test_the_encoder_says_what_the_body_holds(annotation, body):
    assert compile_encoder(annotation).annotation == body


# -- what generated code writes


def test_the_usual_case_is_an_expression():
    assert compile_encoder(User).inline == "encode_value(value) if value.__class__ is declared else encode(value)"
    assert (
        compile_encoder(User | None).inline == "encode_value(value) if value.__class__ in declared else encode(value)"
    )
    assert compile_encoder(list[User]).inline == "encode_value(value) if fits(value) else encode(value)"
    assert compile_encoder(User, validate=True).inline is None
    assert compile_encoder(str | User).inline is None
