from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest

from fastlane import CompileError, Depends
from fastlane.cron import CronJob, Tick, cron
from fastlane.pubsub import Retry
from fastlane.resources.declaration import declared_resources


def test_a_job_is_its_function_still() -> None:
    @cron("trending", every="10m")
    async def refresh_trending() -> int:
        """Counts."""
        return 3

    assert isinstance(refresh_trending, CronJob)
    assert asyncio.run(refresh_trending()) == 3
    assert refresh_trending.__name__ == "refresh_trending"
    assert refresh_trending.__doc__ == "Counts."
    assert declared_resources(CronJob)["trending"] is refresh_trending


def test_it_is_fired_by_hand_at_a_given_time() -> None:
    @cron("report", schedule="0 4 * * *", timezone="Europe/Stockholm")
    async def report(tick: Tick) -> Tick:
        return tick

    at = datetime(2026, 1, 1, 4, tzinfo=UTC)
    assert asyncio.run(report.fire(at)) == Tick("report", at, 1)
    with pytest.raises(ValueError, match="has no time zone"):
        asyncio.run(report.fire(datetime(2026, 1, 1)))


def test_a_plain_function_runs_in_a_thread() -> None:
    import threading

    @cron("plain", every="1h")
    def plain() -> str:
        return threading.current_thread().name

    assert asyncio.run(plain.fire()) != threading.current_thread().name


def test_what_it_raises_comes_out_of_fire_and_a_timeout_too() -> None:
    @cron("broken", every="1h", timeout=0.01)
    async def broken() -> None:
        await asyncio.sleep(5)

    with pytest.raises(TimeoutError, match=r"not done within its timeout of 0\.01 s"):
        asyncio.run(broken.fire())

    @cron("impatient", every="1h", timeout=60)
    async def impatient() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        asyncio.run(impatient.fire())


def test_a_late_tick_may_be_caught_up_for_an_interval_at_most_an_hour() -> None:
    @cron("often", every="10m")
    async def often() -> None: ...

    @cron("seldom", schedule="@monthly")
    async def seldom() -> None: ...

    @cron("told", every="24h", catch_up=timedelta(hours=5))
    async def told() -> None: ...

    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert (often.catch_up(now), seldom.catch_up(now), told.catch_up(now)) == (600, 3600, 18000)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "one of every= and schedule="),
        ({"every": "10m", "schedule": "* * * * *"}, "one of every= and schedule="),
        ({"every": "7m"}, "divides the day: 6m or 8m are the nearest"),
        ({"schedule": "61 * * * *"}, r"schedule='61 \* \* \* \*'"),
        ({"schedule": "* * * * *", "timezone": "Mars"}, "timezone='Mars', expected the name of a time zone"),
        ({"every": "10m", "timezone": "Europe/Stockholm"}, "timezone= has no meaning beside every="),
        ({"every": "10m", "overlap": "wait"}, "overlap='wait'"),
        ({"every": "10m", "jitter": "x"}, "jitter='x', expected a duration"),
        ({"every": "10m", "timeout": -1}, "timeout=-1, expected a duration"),
        ({"every": "10m", "retry": 3}, "retry=3, expected a Retry"),
        ({"every": "10m", "catch_up": []}, r"catch_up=\[\], expected a duration"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_where_it_stands(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CompileError, match=problem) as caught:
        cron("job", **options)
    assert caught.value.file == __file__
    assert "mend: " in str(caught.value)


async def dependency() -> int:
    return 1


def takes_two(a: int, b: int) -> None: ...
def takes_one(request: str) -> None: ...
def depends(a: Annotated[int, Depends(dependency)] = 1) -> None: ...
def depends_by_default(a: int = Depends(dependency)) -> None: ...  # type: ignore[assignment]
def generates() -> Any:
    yield


async def generates_async() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    "function", [takes_two, takes_one, depends, depends_by_default, generates, generates_async, "no function"]
)
def test_a_function_that_can_not_be_a_job_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(CompileError, match="cron job 'job'"):
        cron("job", every="10m")(function)


@pytest.mark.parametrize("name", ["Trending", "a_b", "", "x" * 31, 5])
def test_a_name_is_words_joined_by_hyphens(name: str) -> None:
    with pytest.raises(CompileError, match="is no name for a cron job"):
        cron(name, every="10m")(lambda: None)


def test_defaults_do_not_count_as_parameters() -> None:
    @cron("job", every="10m", retry=Retry(max_attempts=2))
    async def job(limit: int = 5) -> int:
        return limit

    assert asyncio.run(job.fire()) == 5
