"""A real server on a loopback port, in the test's loop: the protocol under test, started by uvicorn's ``Server``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
import uvloop

from fastlane.server.limits import Limits
from fastlane.server.protocol import LaneProtocol

__all__ = ["LOOPS", "run", "serve"]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def run(main: Any, loop: str = "uvloop") -> Any:
    """Run a coroutine on a fresh loop of that kind and close the loop."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(main)


@contextlib.asynccontextmanager
async def serve(app: Any, limits: Limits | None = None, **options: Any) -> AsyncIterator[tuple[str, int]]:
    """Serve an application and yield the address.

    Args:
        app: a fastlane App, or any ASGI application.
        limits: instead of the defaults.
        **options: of ``uvicorn.Config``.
    """
    options = {
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "ws": "none",
    } | options
    config = uvicorn.Config(app, http=LaneProtocol, **options)
    if limits is not None:
        config.limits = limits  # type: ignore[attr-defined]
    config.load()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        await server.on_tick(0)  # the Date header
        try:
            yield listener.getsockname()
        finally:
            # Server.shutdown() without its rests of a tenth of a second, which hundreds of tests would wait for.
            for one in server.servers:
                one.close()
            for connection in list(server.server_state.connections):
                connection.shutdown()
            for task in list(server.server_state.tasks):
                task.cancel()
            async with asyncio.timeout(30):
                while server.server_state.connections or server.server_state.tasks:
                    await asyncio.sleep(0)
