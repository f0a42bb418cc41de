"""The client for async tests: the app runs on the test's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from fastlane.app import App
from fastlane.testing.cookies import CookieJar
from fastlane.testing.exchange import exchange
from fastlane.testing.lifespan import LifespanTask
from fastlane.testing.outgoing import outgoing_request, outgoing_websocket
from fastlane.testing.redirects import MOST, redirected
from fastlane.testing.websocket import AsyncWebSocketSession

if TYPE_CHECKING:
    from fastlane.http.stream import Receive, Scope, Send
    from fastlane.testing.outgoing import HeaderTypes, Params, RequestOptions
    from fastlane.testing.response import TestResponse

__all__ = ["AsyncTestClient"]

ASGIApplication = Callable[["Scope", "Receive", "Send"], Awaitable[None]]


class AsyncTestClient:
    """Requests to an app without a socket, through everything that is compiled for real ones.

    The lifespan begins with ``async with`` or the first request, and ends with the block, ``aclose()`` or the loop.

    Args:
        app: an ``App``, or any ASGI application.
        raise_server_exceptions: an exception that nobody handled is raised here instead of being a 500.
        headers: for every request.
        cookies: what the jar holds at first.
        lifespan: run it; False for tests that need none of it.
        validate_responses: check answers at every depth against the handler's annotation.
        follow_redirects: go where an answer says; each request may say otherwise.

    Example:
        >>> async with AsyncTestClient(app) as client:
        ...     response = await client.get("/posts/3")
        ...     assert response.json() == {"id": 3}
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
        self.app = app
        self.headers = dict(headers or {})
        self.cookies = CookieJar(cookies or {})
        self.raise_server_exceptions = raise_server_exceptions
        self.follow_redirects = follow_redirects
        self._runs_lifespan = lifespan
        self._validate_responses = validate_responses
        self._validated_before: bool | None = None
        self._lifespan: LifespanTask | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> AsyncTestClient:
        await self._prepare()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the lifespan, and leave the app as it was. Raises what the shutdown raises."""
        lifespan, self._lifespan = self._lifespan, None
        try:
            if lifespan is not None:
                await lifespan.stop()
        finally:
            self._starting = asyncio.Lock()  # the next start may be on another loop
            if self._validated_before is not None:
                assert isinstance(self.app, App)
                self.app.validate_responses(self._validated_before)
                self._validated_before = None

    async def settle(self) -> None:
        """Wait until every message that can be handled has been, and nothing happens any more by itself."""
        await self._prepare()
        if isinstance(self.app, App):
            await self.app.settle()

    @contextmanager
    def override(self, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> Iterator[None]:
        """Call ``replacement`` wherever ``dependency`` would be, until the block ends. Works around requests, in any
        order and nested.
        """
        if not isinstance(self.app, App):
            raise TypeError("only a fastlane App has dependencies to override")
        overrides = self.app.dependency_overrides
        before = overrides.get(dependency)
        overrides[dependency] = replacement
        try:
            yield
        finally:
            if before is None:
                del overrides[dependency]
            else:
                overrides[dependency] = before

    async def request(self, method: str, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        """Send a request with any method; ``options`` are those of ``RequestOptions``."""
        follow = options.pop("follow_redirects", self.follow_redirects)
        history: list[TestResponse] = []
        while True:
            outgoing = outgoing_request(method, url, options, self.headers, self.cookies)
            outgoing.scope["state"] = await self._prepare()
            response = await exchange(self.app, outgoing, raise_server_exceptions=self.raise_server_exceptions)
            response.history = list(history)
            self.cookies.store(response.headers.getlist("set-cookie"), outgoing.host, outgoing.scope["path"])
            if not follow or not response.is_redirect:
                return response
            history.append(response)
            if len(history) > MOST:
                raise RuntimeError(f"more than {MOST} redirects, the last one from {outgoing.absolute_url}")
            method, url, options = redirected(outgoing, options, response)

    async def get(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return await self.request("HEAD", url, **options)

    async def options(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return await self.request("OPTIONS", url, **options)

    async def post(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Unpack[RequestOptions]) -> TestResponse:
        return await self.request("DELETE", url, **options)

    def websocket_connect(
        self,
        url: str,
        *,
        params: Params | None = None,
        headers: HeaderTypes | None = None,
        subprotocols: Sequence[str] = (),
    ) -> AsyncWebSocketSession:
        """A WebSocket connection, to be used in ``async with``."""
        scope = outgoing_websocket(url, params, headers, subprotocols, self.headers, self.cookies)
        return AsyncWebSocketSession(self.app, scope, self._prepare)

    async def _prepare(self) -> dict[str, Any]:
        """Start the app if it is not running, and open what an override has changed. Answers the lifespan's state."""
        app = self.app
        if self._lifespan is not None and self._lifespan.loop is not asyncio.get_running_loop():
            # It ended with its loop: a client at module level serves one test after the other.
            self._lifespan = None
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._validate_responses and self._validated_before is None and isinstance(app, App):
                self._validated_before = app.validate_responses(True)
            if self._lifespan is None and self._runs_lifespan:
                lifespan = LifespanTask(app)
                await lifespan.start()
                self._lifespan = lifespan
            state = {} if self._lifespan is None else self._lifespan.state
            if isinstance(app, App):
                await app.lifespan.within(state).refresh()
            return dict(state)
