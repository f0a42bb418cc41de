from __future__ import annotations

import asyncio
import logging

import pytest

from fastlane.server.config import LaneConfig
from fastlane.server.lifespan import Lifespan
from fastlane.supervisor.failure import BootFailure


def drive(app, lifespan: str = "auto") -> Lifespan:
    """Start and end the lifespan of an application."""

    async def main() -> Lifespan:
        config = LaneConfig(app, lifespan=lifespan, http="httptools")
        config.load()
        one = Lifespan(config)
        await one.startup()
        await one.shutdown()
        return one

    return asyncio.run(main())


async def complete(scope, receive, send):
    while True:
        message = await receive()
        scope["state"][message["type"]] = True
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def has_none(scope, receive, send):
    assert scope["type"] == "http"


async def takes_startup_and_raises(scope, receive, send):
    await receive()
    raise RuntimeError("no database")


async def says_failed(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no queue"})


async def says_failed_without_a_reason(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed"})


async def says_failed_and_raises(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "Traceback ... a whole one"})
    raise RuntimeError("no database")


def test_a_lifespan_starts_and_ends():
    assert drive(complete).state == {"lifespan.startup": True, "lifespan.shutdown": True}


def test_an_application_that_receives_nothing_has_none():
    lifespan = drive(has_none)
    assert lifespan.error_occurred
    assert not lifespan.should_exit


@pytest.mark.parametrize(
    ("app", "text"),
    [
        (takes_startup_and_raises, "RuntimeError: no database\n    at {file}:"),
        (says_failed, "did not start: no queue"),
        (says_failed_without_a_reason, "without a reason"),
        (says_failed_and_raises, "RuntimeError: no database\n    at {file}:"),
    ],
)
def test_a_failure_says_what_and_where(app, text):
    with pytest.raises(BootFailure) as caught:
        drive(app)
    assert caught.value.exit_code == 3
    assert text.format(file=__file__) in str(caught.value)
    assert "uvicorn" not in str(caught.value)


def test_with_on_an_application_without_a_lifespan_fails():
    with pytest.raises(BootFailure, match="AssertionError"):
        drive(has_none, "on")


@pytest.mark.parametrize("raises", [True, False])
def test_a_failure_at_the_end_is_logged(raises, caplog):
    async def fails(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if raises:
            raise RuntimeError("can't flush")
        await send({"type": "lifespan.shutdown.failed", "message": "can't flush"})

    with caplog.at_level(logging.ERROR):
        lifespan = drive(fails)
    assert lifespan.shutdown_failed
    assert caplog.text.count("can't flush") >= 1
