"""What the ASGI door reads from a scope."""

from typing import Any

import pytest

from fastlane.asgi import ScopeConnection, ScopeHead, route_path


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, b"/a%2Fb"),
        ({"raw_path": None}, b"/a/b"),
        ({"root_path": "/api", "raw_path": b"/api/a%2Fb"}, b"/a%2Fb"),
        ({"root_path": "/api/", "raw_path": b"/%61pi/a"}, b"/a"),
        ({"root_path": "/api", "raw_path": b"/api"}, b"/"),
        ({"root_path": "/api", "raw_path": b"/other/a"}, b"/other/a"),
        ({"root_path": "/api", "raw_path": b"/apis"}, b"/apis"),
        ({"root_path": "/a/b", "raw_path": b"/a/b/c/"}, b"/c/"),
        ({"raw_path": b""}, b"/"),
        ({"root_path": "/x", "raw_path": b""}, b"/"),
        ({"raw_path": None, "path": "/é ?"}, b"/%C3%A9%20%3F"),
    ],
)
def test_the_path_is_that_below_the_root_still_encoded(more: Any, expected: bytes) -> None:
    assert route_path({"type": "http", "path": "/a/b", "raw_path": b"/a%2Fb", **more}) == expected


def test_the_head_answers_one_all_or_none() -> None:
    head = ScopeHead({"type": "http", "path": "/", "headers": [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]})

    assert head.header(b"b") == b"2"
    assert head.header(b"c") is None
    assert head.header_values(b"a") == [b"1", b"3"]
    assert head.header_list() == [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    with pytest.raises(ValueError, match="more than once"):
        head.header(b"a")


def test_the_connection_tolerates_what_is_missing() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError

    bare = ScopeConnection({"type": "http"}, receive)
    full = ScopeConnection({"client": ["::1", 5], "server": ["/run/x.sock", None], "scheme": "https"}, receive)

    assert (bare.client, bare.server, bare.scheme, bare.root_path) == (None, None, "http", "")
    assert (full.client, full.server, full.scheme) == (("::1", 5), ("/run/x.sock", None), "https")
    head = ScopeHead({"type": "http", "path": "/"})
    assert (full.client_of(head), full.scheme_of(head)) == (("::1", 5), "https")
