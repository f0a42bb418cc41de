"""``/healthz`` and ``/readyz`` on the port of the application: ``--health-path`` and ``--ready-path``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastlane.endpoint import Endpoint, Match
from fastlane.http.response import PlainTextResponse
from fastlane.server.readiness import Readiness

if TYPE_CHECKING:
    from fastlane.routing.table import RouteTable

__all__ = ["HealthDoor", "add_health"]

_HEADERS = {"cache-control": "no-store"}

Application = Callable[[Any, Any, Any], Awaitable[None]]
Respond = Callable[[], Awaitable[PlainTextResponse]]

logger = logging.getLogger("fastlane.server")


def _responders(health: str | None, ready: str | None, readiness: Readiness) -> dict[str, Respond]:
    """What answers at which path."""

    async def say_alive() -> PlainTextResponse:
        return PlainTextResponse("alive\n", headers=_HEADERS)

    async def say_ready() -> PlainTextResponse:
        reason = await readiness.reason()
        if reason:
            return PlainTextResponse(f"not ready: {reason}\n", 503, headers=_HEADERS)
        return PlainTextResponse("ready\n", headers=_HEADERS)

    places = ((health, say_alive), (ready, say_ready))
    return {path: respond for path, respond in places if path is not None}


def add_health(table: RouteTable, health: str | None, ready: str | None, readiness: Readiness) -> None:
    """Put both into a compiled fastlane app, unless one of its own routes or mounts answers there.

    The app's middleware and dependencies have no part in it: a probe has no session and no token.
    """
    for path, respond in _responders(health, ready, readiness).items():
        raw_path = path.encode("ascii")
        found = table.match("GET", raw_path).endpoint
        if found.route is not None or found.asgi is not None:
            logger.warning("the application itself answers %s: it is not the server's health", path)
            continue
        match = Match(Endpoint(_as_call(respond), suspends=True, needs_request=False))
        for method in (b"GET", b"HEAD"):
            table.exact[b"%b %b" % (method, raw_path)] = match


def _as_call(respond: Respond) -> Callable[[Any], Awaitable[PlainTextResponse]]:
    return lambda _: respond()


class HealthDoor:
    """Any other ASGI application with both in front of it: nobody can know which routes it has."""

    def __init__(self, app: Application, health: str | None, ready: str | None, readiness: Readiness) -> None:
        self._app = app
        self._responders = _responders(health, ready, readiness)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            respond = self._responders.get(scope["path"].removeprefix(scope.get("root_path", "")))
            if respond is not None:
                response = await respond()
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
