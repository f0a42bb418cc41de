"""The client for tests that are not async: the app runs on a loop in a thread."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from fastlane.testing.async_client import AsyncTestClient
from fastlane.testing.portal import Portal
from fastlane.testing.websocket import WebSocketSession

if TYPE_CHECKING:
    from fastlane.http.stream import Receive, Scope, Send
    from fastlane.testing.cookies import CookieJar
    from fastlane.testing.outgoing import HeaderTypes, Params, RequestOptions
    from fastlane.testing.response import TestResponse

__all__ = ["TestClient"]

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


class TestClient:
    """Requests to an app without a socket, through everything that is compiled for real ones.

    The lifespan begins with ``with``, or with the first request, and ends with the block, ``close()``, or when nobody
    has the client any more. All requests of one client, and its lifespan, share one event loop.

    Args:
        app: an ``App``, or any ASGI application.
        options: those of ``AsyncTestClient``.

    Example:
        >>> client = TestClient(app)
        >>> assert client.get("/posts/3").json() == {"id": 3}
    """

    __test__ = False

    def __init__(
        self,
        app: ASGIApplication,
        *,
        raise_server_exceptions: bool = True,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        lifespan: bool = True,
        validate_responses: bool = True,
        follow_redirects: bool = False,
    ) -> None:
        self._client = AsyncTestClient(
            app,
            raise_server_exceptions=raise_server_exceptions,
            headers=headers,
            cookies=cookies,
            lifespan=lifespan,
            validate_responses=validate_responses,
            follow_redirects=follow_redirects,
        )
        self._portal: Portal | None = None
        self._closer: weakref.finalize[..., TestClient] | None = None

    @property
    def app(self) -> ASGIApplication:
        return self._client.app

    @property
    def headers(self) -> dict[str, str]:
        """Sent with every request."""
        return self._client.headers

    @property
    def cookies(self) -> CookieJar:
        return self._client.cookies

    def __enter__(self) -> TestClient:
        self._running().call(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the lifespan and the loop. Raises what the shutdown raises. A later request starts anew."""
        if self._closer is not None:
            closer, self._closer, self._portal = self._closer, None, None
            closer()

    def settle(self) -> None:
        """Wait until every message that can be handled has been, and nothing happens any more by itself."""
        self._running().call(self._client.settle())

    def override(self, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> AbstractContextManager[None]:
        """Call ``replacement`` wherever ``dependency`` would be, until the block ends."""
        return self._client.override(dependency, replacement)

    def request(self, method: str, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """Send a request with any method; ``options`` are those of ``RequestOptions``."""
        return self._running().call(self._client.request(method, url, **options))

    def get(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return self.request("OPTIONS", url, **options)

    def post(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return self.request("DELETE", url, **options)

    def websocket_connect(
        self,
        url: str,
        *,
        params: Params | None = None,
        headers: HeaderTypes | None = None,
        subprotocols: Sequence[str] = (),
    ) -> WebSocketSession:
        """A WebSocket connection, to be used in ``with``."""
        session = self._client.websocket_connect(url, params=params, headers=headers, subprotocols=subprotocols)
        return WebSocketSession(session, self._running())

    def _running(self) -> Portal:
        if self._portal is None:
            self._portal = Portal()
            self._closer = weakref.finalize(self, shut_down, self._client, self._portal)
        return self._portal


def shut_down(client: AsyncTestClient, portal: Portal) -> None:
    """End a client and its loop."""
    try:
        portal.call(client.aclose())
    finally:
        portal.close()
