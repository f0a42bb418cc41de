"""What all connections of one worker share: the application, the bounds, and heads that are rendered once a second."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from fastlane.server.limits import Limits
from fastlane.server.reply import STATUS_LINES, header_block

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from fastlane.app import App
    from fastlane.endpoint import Endpoint
    from fastlane.http.request import Request
    from fastlane.http.response import Response
    from fastlane.server.head import LaneHead
    from fastlane.server.wire import Wire

__all__ = ["Lane"]

AccessLog = Callable[[str, str, str, str, int, int, float], None]


class Lane:
    """One per server, made by its first connection.

    Attributes:
        app: the whole application as ASGI, with uvicorn's own wrappers around it.
        fastlane: the fastlane app inside it, when its routes may be answered without ASGI; None for any other
            application, and for a fastlane app behind ASGI middleware.
        defaults: ``date`` and the configured headers, rendered; replaced once a second.
        default_headers: uvicorn's list that ``defaults`` was rendered from.
        server_context: the variables that the server began with.
        request_context: makes a new context with the server's variables. Not the current one's: a pipelined request is
            begun where the one before it ends, and must not see that user's.
        prefixes: per endpoint, everything of a response's head up to the digits of content-length.
    """

    __slots__ = (
        "_default_names",
        "access_log",
        "app",
        "app_state",
        "config",
        "context",
        "default_headers",
        "defaults",
        "fastlane",
        "limits",
        "max_body",
        "prefixes",
        "request_context",
        "server_context",
        "server_state",
        "trusted_hosts",
    )

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.server_state = server_state
        self.app_state = app_state
        self.app: ASGI3Application = config.loaded_app
        self.limits: Limits = getattr(config, "limits", None) or Limits()
        self.trusted_hosts: Any = None
        inner: Any = config.loaded_app
        while type(inner).__module__.startswith("uvicorn.") and hasattr(inner, "app"):
            if isinstance(inner, ProxyHeadersMiddleware):
                self.trusted_hosts = inner.trusted_hosts
            inner = inner.app
        # Whoever serves a Django application need not wait for our compiler to be imported: 60 ms of a cold start.
        module = sys.modules.get("fastlane.app")
        is_fastlane = module is not None and isinstance(inner, module.App) and not inner.asgi_only
        self.fastlane: App | None = inner if is_fastlane else None
        self.context: Any = None if self.fastlane is None else self.fastlane.lifespan.within(app_state).context
        self.max_body = None if self.fastlane is None else self.fastlane.max_body
        self.access_log: AccessLog | None = getattr(config, "access_writer", None) or _uvicorn_access_log(config)
        self.default_headers: list[tuple[bytes, bytes]] | None = None
        self._default_names: frozenset[bytes] = frozenset()
        self.defaults = b""
        self.prefixes: dict[Endpoint, bytes] = {}
        self.server_context = Context() if config.reset_contextvars else copy_context()
        self.request_context = self.server_context.copy

        if self.fastlane is not None:
            self.fastlane.watch_recompiling(self._forget)

    def _forget(self) -> None:
        for connection in self.server_state.connections:
            forget = getattr(connection, "forget", None)  # a WebSocket's protocol remembers nothing
            if forget is not None:
                forget()

    @classmethod
    def of(cls, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> Lane:
        """The lane of this server: the one that its earlier connections use, or a new one."""
        lane: Lane | None = getattr(config, "lane", None)
        if lane is None or lane.server_state is not server_state:
            lane = cls(config, server_state, app_state)
            config.lane = lane  # type: ignore[attr-defined]
        return lane

    def failure(self, request: Request, error: Exception) -> Response[Any] | Awaitable[Response[Any]]:
        """The answer to an exception, as the app's exception handlers say."""
        return self.fastlane.table.failure(request, error)  # type: ignore[union-attr]

    def log_access(self, wire: Wire, head: LaneHead, status: int, size: int, seconds: float) -> None:
        """One line about one answer."""
        address = wire.address
        if head.is_forwarded:
            client = wire.client_of(head)
            address = f"{client[0]}:{client[1]}" if client else ""
        self.access_log(address, head.method, head.target, head.http_version, status, size, seconds)  # type: ignore[misc]

    def default_block(self, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """The headers of every response, date and the configured ones, but for those that ``headers`` has itself."""
        defaults = self.server_state.default_headers
        if defaults is not self.default_headers:
            # uvicorn's server replaces the list once a second, when the date changes.
            self.default_headers = defaults
            self._default_names = frozenset(name for name, _ in defaults)
            self.defaults = header_block(defaults)
            self.prefixes.clear()
        names = self._default_names.intersection([name for name, _ in headers]) if headers else ()
        if names:
            return header_block([pair for pair in defaults if pair[0] not in names])
        return self.defaults

    def _trusts(self, peer: tuple[str, int] | None) -> bool:
        return self.trusted_hosts is not None and (peer[0] if peer else None) in self.trusted_hosts

    def forwarded_client(self, peer: tuple[str, int] | None, head: LaneHead) -> tuple[str, int] | None:
        """The client by ``X-Forwarded-For`` where the peer is trusted: the rightmost address that is not trusted."""
        if not head.is_forwarded or not self._trusts(peer):
            return peer
        values = head.header_values(b"x-forwarded-for")
        if not values:
            return peer
        host, port = self.trusted_hosts.get_trusted_client_address(b", ".join(values).decode("latin-1"))
        return (host, port) if host else peer

    def forwarded_scheme(self, peer: tuple[str, int] | None, head: LaneHead) -> str | None:
        """The scheme by ``X-Forwarded-Proto`` where the peer is trusted; None where nothing says."""
        if not head.is_forwarded or not self._trusts(peer):
            return None
        values = head.header_values(b"x-forwarded-proto")
        scheme = values[-1].decode("latin-1") if values else ""
        return scheme if scheme in ("http", "https") else None

    def render(self, status: int, headers: list[tuple[bytes, bytes]], connection: bytes, body: bytes) -> bytes:
        """A whole response. Raises ValueError for a status that is not final, and for a header that would split it."""
        if status < 200:
            raise ValueError(f"{status} is no final status")  # RFC 9110 15.2: a client would wait on
        fields = header_block(headers)
        return b"".join((STATUS_LINES[status], self.default_block(headers), fields, connection, b"\r\n", body))

    def prefix(self, endpoint: Endpoint) -> bytes:
        """The head of a ``bytes`` result, up to where content-length's digits or the empty line follow."""
        defaults = self.default_block()
        prefix = self.prefixes.get(endpoint)
        if prefix is None:
            prefix = STATUS_LINES[endpoint.status] + header_block(endpoint.headers) + defaults
            if not endpoint.empty:
                prefix += b"content-length: "
            elif endpoint.status == 205:
                prefix += b"content-length: 0\r\n"  # else a client would wait for its end (RFC 9110 15.3.6)
            self.prefixes[endpoint] = prefix
        return prefix


def _uvicorn_access_log(config: Config) -> AccessLog | None:
    """Under plain uvicorn, its own access logger gets the records that its formatter expects."""
    logger = logging.getLogger("uvicorn.access")
    if not config.access_log or not logger.hasHandlers():
        return None

    def log(client: str, method: str, target: str, version: str, status: int, size: int, seconds: float) -> None:
        logger.info('%s - "%s %s HTTP/%s" %d', client, method, target, version, status)

    return log
