"""A request without a door, for tests of what lies behind it."""

from __future__ import annotations

from fastlane.asgi import ScopeConnection, ScopeHead
from fastlane.endpoint import Endpoint
from fastlane.http.request import Request

__all__ = ["make_request"]


def make_request(method: str = "GET", path: str = "/") -> Request:
    """A request as the ASGI door builds it."""
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode("ascii"), "headers": []}

    async def receive() -> dict[str, object]:
        raise AssertionError("nothing reads the body")

    endpoint = Endpoint(lambda request: b"", suspends=False)
    return Request(ScopeHead(scope), (), b"", ScopeConnection(scope, receive), endpoint, None)
