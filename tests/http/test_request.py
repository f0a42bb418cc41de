"""The request, as a handler sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastlane.endpoint import Endpoint
from fastlane.errors import BadRequest, UnsupportedMediaType
from fastlane.http.request import Request
from fastlane.http.url import URL
from fastlane.server.head import read_head
from fastlane.server.limits import Limits


class Peer:
    server = ("127.0.0.1", 8000)
    root_path = "/api"

    def client_of(self, head: Any) -> tuple[str, int]:
        return ("10.0.0.1", 5)

    def scheme_of(self, head: Any) -> str:
        return "https"

    def is_disconnected(self) -> bool:
        return False


class Template:
    names = ("post_id",)


class Route:
    template = Template()


def request_of(*fields: bytes, target: bytes = b"/posts/7?a=1&a=2&b=%C3%A4", body: bytes = b"") -> Request:
    raw = b"\r\n".join((b"POST " + target + b" HTTP/1.1", b"Host: Example.org:81", *fields, b"", b""))
    endpoint = Endpoint(lambda request: b"", suspends=False, route=Route())
    return Request(read_head(raw, Limits()), ("7",), body, Peer(), endpoint, None)


def test_what_the_request_line_says():
    request = request_of()

    assert (request.method, request.http_version) == ("POST", "1.1")
    assert request.path_params == {"post_id": "7"}
    assert request.query_params["a"] == "2"
    assert request.query_params.getlist("a") == ["1", "2"]
    assert request.query_params["b"] == "ä"
    assert request.query_params is request.query_params
    assert repr(request) == "<Request POST /posts/7>"


def test_the_url_is_made_of_parts():
    url = request_of().url

    assert (url.scheme, url.netloc, url.hostname, url.port) == ("https", "Example.org:81", "example.org", 81)
    assert (url.path, url.query) == ("/api/posts/7", "a=1&a=2&b=%C3%A4")
    assert str(url) == "https://Example.org:81/api/posts/7?a=1&a=2&b=%C3%A4"


def test_a_host_can_t_reach_the_path():
    url = URL("http", "evil/?#@host", "/admin", "")

    assert url.path == "/admin"


def test_urls_compare_by_their_text_and_know_usual_ports():
    url = URL("https", "[::1]", "/ä", "")

    assert url == "https://[::1]/%C3%A4"
    assert url == URL("https", "[::1]", "/ä", "")
    assert hash(url) == hash(str(url))
    assert (url.hostname, url.port) == ("::1", 443)
    assert url != 3
    assert repr(url) == "URL('https://[::1]/%C3%A4')"
    assert URL("http", "[::1]:8000", "/", "").port == 8000


def test_a_path_that_is_no_utf_8_has_no_url():
    with pytest.raises(BadRequest):
        request_of(target=b"/%ff").url


def test_headers_and_cookies_are_read_once():
    request = request_of(b"X-Tag: a", b"x-tag: b", b"Cookie: a=1; b=2")

    assert request.headers["X-TAG"] == "a"
    assert request.headers.getlist("x-tag") == ["a", "b"]
    assert request.headers is request.headers
    assert request.cookies == {"a": "1", "b": "2"}


def test_the_peer_is_what_the_connection_says():
    request = request_of()

    assert request.client == ("10.0.0.1", 5)
    assert request.scheme == "https"
    assert asyncio.run(request.is_disconnected()) is False


def test_state_is_the_request_s_own():
    request = request_of()
    request.state.user = "me"

    assert request.state.user == "me"
    assert not hasattr(request_of().state, "user")


def test_the_body_in_all_its_forms():
    async def read(request: Request) -> tuple[bytes, list[bytes], Any]:
        return await request.body(), [piece async for piece in request.stream()], await request.json()

    assert asyncio.run(read(request_of(body=b'{"a": 1}'))) == (b'{"a": 1}', [b'{"a": 1}'], {"a": 1})


def test_an_empty_body_streams_nothing():
    async def pieces() -> list[bytes]:
        return [piece async for piece in request_of().stream()]

    assert asyncio.run(pieces()) == []


@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"', b"[" * 100_000])
def test_a_body_that_is_no_json_is_a_400(body):
    with pytest.raises(BadRequest):
        asyncio.run(request_of(body=body).json())


def test_a_form_is_read_by_its_type():
    form = request_of(b"Content-Type: application/x-www-form-urlencoded; charset=utf-8", body=b"a=1+2&a=3").form()
    assert asyncio.run(form).multi_items() == [("a", "1 2"), ("a", "3")]

    with pytest.raises(UnsupportedMediaType):
        asyncio.run(request_of(b"Content-Type: text/plain", body=b"a=1").form())
    with pytest.raises(UnsupportedMediaType):
        asyncio.run(request_of(body=b"a=1").form())
