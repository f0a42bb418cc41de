"""Answers."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from fastlane.http.background import BackgroundTasks
from fastlane.http.response import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
    is_bodiless,
    redirect_target,
)
from tests.http.asgi import exchange

JSON = (b"content-type", b"application/json")


class User(Struct):
    id: int


@pytest.mark.parametrize(
    ("response", "body", "media_type"),
    [
        (Response(), b"", None),
        (Response(b"\xff"), b"\xff", "application/octet-stream"),
        (Response(b""), b"", None),
        (Response("ä"), "ä".encode(), "text/plain; charset=utf-8"),
        (Response(""), b"", None),
        (Response({"a": 1}), b'{"a":1}', "application/json"),
        (Response(User(1)), b'{"id":1}', "application/json"),
        (Response([]), b"[]", "application/json"),
        (Response("<p>", media_type="text/html"), b"<p>", "text/html"),
        (Response(None, media_type="text/html"), b"", "text/html"),
        (JSONResponse("a"), b'"a"', "application/json"),
        (JSONResponse(None), b"null", "application/json"),
        (JSONResponse({"a": 1}), b'{"a":1}', "application/json"),
        (JSONResponse(b"a"), b'"YQ=="', "application/json"),
        (HTMLResponse("<p>"), b"<p>", "text/html; charset=utf-8"),
        (PlainTextResponse("a"), b"a", "text/plain; charset=utf-8"),
    ],
)
def test_the_content_decides_body_and_type(response, body, media_type):
    assert response.body == body
    assert response.headers.get("content-type") == media_type


def test_headers_are_lower_case_and_a_type_among_them_stands():
    response = Response({"a": 1}, 201, {"X-Tag": "1", "Content-Type": "application/hal+json"})

    assert response.status == 201
    assert response.raw_headers == [(b"x-tag", b"1"), (b"content-type", b"application/hal+json")]


def test_media_type_beats_the_headers():
    response = Response("a", headers={"content-type": "text/html", "x": "1"}, media_type="text/csv")

    assert response.raw_headers == [(b"x", b"1"), (b"content-type", b"text/csv")]


def test_content_is_encoded_once_and_may_be_replaced():
    response: Response[Any] = Response({"a": 1})

    assert not response.is_encoded
    assert response.body is response.body
    assert response.is_encoded
    response.body = b"{}"
    assert response.body == b"{}"
    assert response.content == {"a": 1}


@pytest.mark.parametrize("status", [100, 204, 205, 304])
def test_a_status_that_forbids_a_body_takes_no_content(status):
    assert is_bodiless(status)
    for content in ("a", b"a", {"a": 1}):
        with pytest.raises(ValueError, match=f"status {status} forbids a body"):
            Response(content, status)
    with pytest.raises(ValueError, match="forbids a body"):
        StreamingResponse([], status)
    assert Response(None, status).body == b""
    assert JSONResponse(None, status).body == b""


@pytest.mark.parametrize("headers", [{"a b": "1"}, {"a": "1\r\nb: 2"}, {"a": "→"}, {"a\n": "1"}])
def test_a_header_that_can_t_be_sent_is_refused(headers):
    for make in (Response, StreamingResponse):
        with pytest.raises(ValueError, match="header"):
            make("a", headers=headers)
    with pytest.raises(ValueError, match="control character"):
        Response("a", media_type="text/html\r\nx: 1")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("status_code", "has no argument 'status_code': write status="),
        ("content_type", "write media_type="),
        ("tasks", "write background="),
        ("nothing", "has no argument 'nothing'$"),
    ],
)
def test_arguments_of_other_frameworks_are_answered_with_ours(argument, message):
    with pytest.raises(TypeError, match=message):
        Response(None, **{argument: 1})
    with pytest.raises(TypeError, match=message):
        RedirectResponse("/", **{argument: 1})
    with pytest.raises(TypeError, match=message):
        StreamingResponse([], **{argument: 1})


def test_cookies_are_lines_of_their_own():
    response = Response()
    response.set_cookie("a", "1", max_age=5, httponly=True)
    response.set_cookie("b", "2", path="/x")
    response.delete_cookie("c", path="/x")

    assert response.headers.getlist("set-cookie") == [
        "a=1; Max-Age=5; Path=/; HttpOnly; SameSite=lax",
        "b=2; Path=/x; SameSite=lax",
        "c=; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/x; SameSite=lax",
    ]
    with pytest.raises(ValueError):
        response.set_cookie("a", "1", samesite="none")


@pytest.mark.parametrize(
    ("status", "length"),
    [(200, b"1"), (404, b"1"), (204, None), (304, None), (205, b"0")],
)
def test_the_length_on_the_wire_follows_from_body_and_status(status, length):
    response = Response("a", headers={"content-length": "99", "Transfer-Encoding": "chunked", "x": "1"})
    response.status = status
    headers = response.wire_headers()

    assert dict(headers).get(b"content-length") == length
    assert b"transfer-encoding" not in dict(headers)
    assert (b"x", b"1") in headers


def test_a_representation_is_short():
    assert repr(JSONResponse({}, 201)) == "<JSONResponse 201>"


# -- redirects


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/a?b=c#d", "/a?b=c#d"),
        ("https://example.org/", "https://example.org/"),
        ("/ä b", "/%C3%A4%20b"),
        ("/%C3%A4", "/%C3%A4"),
        ("/\\evil.org", "/%5Cevil.org"),
        ("myapp://callback", "myapp://callback"),
        ("http://[::1]/", "http://[::1]/"),
    ],
)
def test_a_redirect_leads_to_a_url(url, location):
    response = RedirectResponse(url)

    assert (response.status, response.headers["location"], response.body) == (307, location, b"")
    assert redirect_target(url) == location


@pytest.mark.parametrize(
    "url",
    ["", "/\r\nx: 1", "/\t/evil.org", "\x00", "javascript:alert(1)", "JavaScript :x", "data:text/html,x", "vbscript:x"],
)
def test_a_redirect_can_t_lead_into_a_header_or_a_script(url):
    with pytest.raises(ValueError, match="redirect"):
        RedirectResponse(url)


@pytest.mark.parametrize("status", [200, 300, 304, 404])
def test_a_redirect_has_a_status_of_one(status):
    with pytest.raises(ValueError, match="must be 301, 302, 303, 307 or 308"):
        RedirectResponse("/", status)


def test_a_redirect_has_headers_and_tasks_like_any_other():
    tasks = BackgroundTasks()
    response = RedirectResponse("/", 303, {"x": "1"}, tasks)

    assert (response.status, response.raw_headers) == (303, [(b"x", b"1"), (b"location", b"/")])
    assert response.background is tasks


# -- as an ASGI application


def test_an_answer_sends_itself():
    sent = exchange(Response({"a": 1}, 201))

    assert (sent.status, sent.body) == (201, b'{"a":1}')
    assert sent.headers == [JSON, (b"content-length", b"7")]


def test_head_keeps_the_headers_without_the_body():
    sent = exchange(Response("abc"), method="HEAD")

    assert (b"content-length", b"3") in sent.headers
    assert sent.body == b""


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_body_does_not_survive_a_status_that_forbids_it(status):
    response = Response("abc")
    response.status = status

    assert exchange(response).body == b""


def test_an_answer_may_refuse_a_websocket():
    sent = exchange(Response("no", 403), type="websocket", method=None)

    assert [message["type"] for message in sent.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]


def test_background_tasks_run_when_all_is_sent():
    order: list[str] = []
    tasks = BackgroundTasks()

    async def note() -> None:
        order.append("task")

    tasks.add(note)
    response = Response("a", background=tasks)
    sent = exchange(response)
    assert (sent.body, order) == (b"a", ["task"])

    order.clear()
    assert exchange(StreamingResponse([b"a"], background=tasks)).body == b"a"
    assert order == ["task"]
