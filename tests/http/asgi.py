"""One ASGI exchange, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

from fastlane.http.response import Response


class Exchange:
    """What a response sends. ``receive`` waits until ``disconnect`` is set."""

    def __init__(self, response: Response[Any], **scope: Any) -> None:
        self.response = response
        self.scope = {"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}, **scope}
        self.sent: list[dict[str, Any]] = []
        self.disconnect = asyncio.Event()
        self.incoming: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.incoming:
            return self.incoming.pop(0)
        await self.disconnect.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    async def run(self) -> Exchange:
        await self.response(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


def exchange(response: Response[Any], **scope: Any) -> Exchange:
    """A whole exchange with a client that stays."""

    async def run() -> Exchange:
        return await Exchange(response, **scope).run()

    return asyncio.run(run())
