"""What the supervisor's processes call: `load` in the template, `boot` in the boot process, `run` in each worker."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from fastlane.discovery import DiscoveryError, load_app
from fastlane.errors import CompileError, ConfigurationError, FastlaneError
from fastlane.resources import are_declared
from fastlane.resources.host import Host
from fastlane.resources.surroundings import Surroundings
from fastlane.server.config import LaneConfig, preload_websockets
from fastlane.server.health import HealthDoor, add_health
from fastlane.server.options import ServeOptions
from fastlane.server.readiness import Readiness
from fastlane.server.server import LaneServer
from fastlane.supervisor.child import WorkerContext
from fastlane.supervisor.failure import BootFailure

if TYPE_CHECKING:
    from fastlane.runtime import Runtime
    from fastlane.supervisor.boot import BootContext

__all__ = ["boot", "end_leftovers", "freeze", "load", "run", "with_health"]

logger = logging.getLogger("fastlane.server")

_END_SECONDS = 1.0
"""What is left of the loop's tasks and generators gets to end."""
_PATIENCE = 0.8
"""The part of ``--boot-timeout`` that a service waits for what can't be reached: the rest is for what it does then."""


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
    config = LaneConfig.from_options(app, serve, readiness, surroundings_of(options, serve))
    if are_declared() or options.get("configures_resources"):
        runtime = _checked_runtime(config)
        config.runtime = runtime if runtime.services else None
    try:
        config.load()
    except OSError as error:  # of the TLS files; ssl.SSLError is one, too
        raise BootFailure(f"the TLS certificate or key can't be used: {error}", 2) from error
    config.get_loop_factory()
    return config


def surroundings_of(options: Mapping[str, Any], serve: ServeOptions) -> Surroundings:
    """What the options say of every process of this server."""
    return Surroundings(
        mode="serve",
        embedded=serve.embedded,
        config=options.get("configuration"),
        workers=int(options.get("workers", 1)),
        roles=serve.run,
        subscriptions=serve.subscriptions,
        boot_timeout=serve.boot_timeout * _PATIENCE,
    )


def _checked_runtime(config: LaneConfig) -> Runtime:
    """The runtime of the declared resources, checked. Also imports what they need, in the template's name."""
    from fastlane.runtime import Runtime

    assert config.surroundings is not None
    runtime = Runtime(config.surroundings)
    try:
        runtime.check()
    except ConfigurationError as error:
        raise BootFailure(str(error), 2) from error
    return runtime


def boot(config: LaneConfig, context: BootContext) -> bytes:
    """Prepare the declared resources, on an event loop of its own.

    Returns:
        What the workers need of it, encoded.

    Raises:
        BootFailure: exit code 2 for a mistake of the configuration, 3 for what could not be done.
    """
    from fastlane.tenancy import ALONE

    runtime = config.runtime
    assert runtime is not None
    if runtime.surroundings.embedded:
        logger.warning("--embedded: %s", ALONE)

    async def prepare() -> bytes:
        try:
            return (await runtime.prepare(context.extend)).encoded()
        finally:
            await runtime.close()

    try:
        return asyncio.run(prepare())
    except ConfigurationError as error:
        raise BootFailure(str(error), 2) from error
    except FastlaneError as error:
        raise BootFailure(str(error), 3) from error


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
        loop.run_until_complete(LaneServer(config, context, host=_host(config, context)).serve())
    finally:
        loop.run_until_complete(end_leftovers())
        asyncio.set_event_loop(None)
        loop.close()


def _host(config: LaneConfig, context: WorkerContext) -> Host | None:
    """What the app's resources are told of this worker; None where there are none."""
    if not are_declared() or config.surroundings is None:
        return None
    from fastlane.resources.handoff import Handoff

    surroundings = structs.replace(config.surroundings, index=context.index, generation=context.generation)
    handoff = Handoff.decoded(context.report) if context.report else None
    return Host(surroundings, handoff, lambda: context.has_predecessor, context.working)


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
