"""What the supervisor's processes call: `load` in the template, `run` in each worker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from fastlane.discovery import DiscoveryError, load_app
from fastlane.errors import CompileError, ConfigurationError
from fastlane.server.config import LaneConfig, preload_websockets
from fastlane.server.health import HealthDoor, add_health
from fastlane.server.options import ServeOptions
from fastlane.server.readiness import Readiness
from fastlane.server.server import LaneServer
from fastlane.supervisor.child import WorkerContext
from fastlane.supervisor.failure import BootFailure

__all__ = ["end_leftovers", "freeze", "load", "run", "with_health"]

_END_SECONDS = 1.0
"""What is left of the loop's tasks and generators gets to end."""


def load(options: Mapping[str, Any]) -> LaneConfig:
    """Import the application and everything that serving it needs, so that workers share it.

    Args:
        options: what `ServeOptions.settings` wrote: ``app`` and ``serve``.

    Raises:
        BootFailure: exit code 4 if the application can't be imported or compiled, 2 if an option can't be used.
    """
    serve = msgspec.convert(options["serve"], ServeOptions)
    try:
        app = load_app(str(options["app"]), serve.app_dir)
        freeze(app, serve.threads)
        app, readiness = with_health(app, serve)
    except (DiscoveryError, CompileError) as error:
        raise BootFailure(str(error), 4) from error
    except ConfigurationError as error:
        raise BootFailure(str(error), 2) from error
    config = LaneConfig.from_options(app, serve, readiness)
    try:
        config.load()
    except OSError as error:  # of the TLS files; ssl.SSLError is one, too
        raise BootFailure(f"the TLS certificate or key can't be used: {error}", 2) from error
    config.get_loop_factory()
    return config


def freeze(app: object, threads: int | None = None) -> None:
    """Compile a fastlane app's routes now: once, and in the pages that workers share.

    Args:
        threads: of each worker for plain ``def`` handlers; default: what the app has.
    """
    module = sys.modules.get("fastlane.app")
    if module is None or not isinstance(app, module.App):
        preload_websockets()  # nobody knows what a foreign application serves
        return
    if threads is not None:
        app.threads.workers = threads
    if app.websocket_routes or app.mounts:
        preload_websockets()
    app.table  # noqa: B018


def with_health(app: Any, serve: ServeOptions) -> tuple[Any, Readiness]:
    """The app with the paths that the options give its health, and its checks."""
    module = sys.modules.get("fastlane.app")
    if module is not None and isinstance(app, module.App):
        readiness = Readiness(app.readiness_checks)
        add_health(app.table, serve.health_path, serve.ready_path, readiness)
        return app, readiness
    readiness = Readiness()
    if serve.health_path is None and serve.ready_path is None:
        return app, readiness
    return HealthDoor(app, serve.health_path, serve.ready_path, readiness), readiness


def run(config: LaneConfig, context: WorkerContext) -> None:
    """Serve until the supervisor says TERM, in the worker's own event loop.

    Raises:
        BootFailure: the application's lifespan failed.
    """
    factory = config.get_loop_factory() or asyncio.new_event_loop
    loop = factory()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(LaneServer(config, context).serve())
    finally:
        loop.run_until_complete(end_leftovers())
        asyncio.set_event_loop(None)
        loop.close()


async def end_leftovers() -> None:
    """Cancel what user code left running, for a bounded time: the process ends in any case."""
    loop = asyncio.get_running_loop()
    left = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_END_SECONDS)
    try:
        await asyncio.wait_for(loop.shutdown_asyncgens(), _END_SECONDS)
    except TimeoutError:
        pass
