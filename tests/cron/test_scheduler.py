from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fastlane.cron import CronJob, Tick, cron
from fastlane.cron import scheduler as scheduler_module
from fastlane.cron.clockwork import Clockwork
from fastlane.cron.local_store import LocalStore
from fastlane.cron.run import call_handler
from fastlane.cron.schedule import CronExpression
from fastlane.cron.scheduler import Scheduler
from fastlane.cron.store import Run, Store
from fastlane.pubsub import Retry
from fastlane.resources.leader import Leader


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and renewals in tenths of seconds; the lease itself stays what it is."""
    monkeypatch.setattr(scheduler_module, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(scheduler_module, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(scheduler_module, "AGAIN_SECONDS", 0.02)


class Clock:
    """One that can be set; it begins at noon."""

    def __init__(self) -> None:
        self.ahead = 1_800_000_000 // 86_400 * 86_400 + 43_200 - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


NOON = Clock()
"""No tick of an hour or a day falls into a test."""


@asynccontextmanager
async def scheduled(store: Store, *jobs: CronJob, owner: str = "a", **options: Any) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler({job.name: job for job in jobs}, store, owner, call_handler, **options)
    turning = asyncio.ensure_future(scheduler.run())
    try:
        yield scheduler
    finally:
        scheduler.stop()
        await turning
        await scheduler.drain(0.0)
        await store.close()


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found is True or (found is not False and await found):  # type: ignore[misc]
            return
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


async def states(store: Store) -> list[str]:
    return [run.state for run in reversed(await store.history(None, 100))]


async def seed(store: LocalStore, *jobs: CronJob) -> None:
    """As if the jobs had been there for a day."""
    for job in jobs:
        await store.register(job.name, str(job.schedule))
    import sqlite3

    connection = sqlite3.connect(store._path)
    connection.execute("UPDATE cron_job SET registered_at = registered_at - 86400")
    connection.commit()
    connection.close()


async def _ended(store: Store) -> bool:
    runs = await store.history(None, 1)
    return bool(runs) and runs[0].state in ("done", "failed")


def the_run_of(job: CronJob, tmp_path: Path) -> Run:
    """The one that there is, when it has ended."""

    async def main() -> list[Run]:
        store = LocalStore(tmp_path / "cron.db", NOON)
        await seed(store, job)
        async with scheduled(store, job):
            await until(lambda: _ended(store))
            return list(await store.history(None, 10))

    (run,) = asyncio.run(main())
    return run


def test_a_job_runs_once_at_every_tick_however_many_workers_there_are(tmp_path: Path) -> None:
    ticks: list[datetime] = []

    # A tick is left out where nobody looks before the next one: not every second, on a machine that others load.
    @cron("often", every=2)
    async def often(tick: Tick) -> None:
        ticks.append(tick.scheduled_at)

    async def main() -> None:
        path = tmp_path / "cron.db"
        async with (
            scheduled(LocalStore(path, NOON), often, owner="a"),
            scheduled(LocalStore(path, NOON), often, owner="b"),
            scheduled(LocalStore(path, NOON), often, owner="c"),
        ):
            await until(lambda: len(ticks) >= 3)

    asyncio.run(main())
    assert len(set(ticks)) == len(ticks)
    assert all(later - earlier == timedelta(seconds=2) for earlier, later in itertools.pairwise(ticks))


def test_ticks_from_before_the_first_deploy_are_nobody_s(tmp_path: Path) -> None:
    runs: list[Tick] = []

    @cron("hourly", every="1h", catch_up="1h")
    async def hourly(tick: Tick) -> None:
        runs.append(tick)

    async def main() -> None:
        async with scheduled(LocalStore(tmp_path / "cron.db", NOON), hourly) as scheduler:
            await until(lambda: "hourly" in scheduler._seen)
            await asyncio.sleep(0.3)

    asyncio.run(main())
    assert runs == []


def test_the_newest_tick_that_nobody_was_there_for_is_caught_up(tmp_path: Path) -> None:
    runs: list[Tick] = []

    @cron("hourly", every="1h", catch_up="1h")
    async def hourly(tick: Tick) -> None:
        runs.append(tick)

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", NOON)
        await seed(store, hourly)
        async with scheduled(store, hourly):
            await until(lambda: len(runs) == 1)

    asyncio.run(main())
    assert runs[0].scheduled_at == hourly.schedule.before(datetime.fromtimestamp(NOON(), UTC))


def test_one_that_is_too_old_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    @cron("daily", every="24h", catch_up=0)
    async def daily() -> None:
        raise AssertionError

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", clock=lambda: 1_800_000_000.0 // 86400 * 86400 + 3600)
        await seed(store, daily)
        async with scheduled(store, daily):
            await until(lambda: "too old to be caught up" in caplog.text)
            assert await store.history(None, 10) == []

    asyncio.run(main())


def test_a_run_that_fails_is_logged_and_waits_for_the_next_tick(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @cron("broken", every="24h", catch_up="24h")
    def broken() -> None:
        raise ValueError("no\nsuch thing")

    run = the_run_of(broken, tmp_path)
    assert (run.state, run.error, run.attempt) == ("failed", "ValueError: no such thing", 1)
    assert "attempt 1 failed" in caplog.text


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\x00b \ud800"), "ValueError: a\N{REPLACEMENT CHARACTER}b \N{REPLACEMENT CHARACTER}"),
        (Unspeakable(), "Unspeakable"),
    ],
)
def test_a_run_that_fails_with_what_no_store_can_keep_has_failed_and_is_not_run_again(
    tmp_path: Path, error: Exception, line: str
) -> None:
    @cron("broken", every="24h", catch_up="24h")
    def broken() -> None:
        raise error

    run = the_run_of(broken, tmp_path)
    assert (run.state, run.error, run.attempt) == ("failed", line, 1)


def test_a_run_that_fails_is_tried_again_where_the_job_says_so(tmp_path: Path) -> None:
    attempts: list[int] = []

    @cron("flaky", every="24h", catch_up="24h", retry=Retry(min_backoff=0.01, max_backoff=0.1, max_attempts=3))
    async def flaky(tick: Tick) -> None:
        attempts.append(tick.attempt)
        if tick.attempt < 3:
            raise ValueError

    run = the_run_of(flaky, tmp_path)
    assert attempts == [1, 2, 3]
    assert (run.state, run.attempt) == ("done", 3)


def test_a_run_beyond_its_timeout_has_failed(tmp_path: Path) -> None:
    @cron("slow", every="24h", catch_up="24h", timeout=0.05)
    async def slow() -> None:
        await asyncio.sleep(60)

    run = the_run_of(slow, tmp_path)
    assert (run.state, run.error) == ("failed", "TimeoutError: not done within its timeout of 0.05 s")


def test_a_tick_during_a_live_run_is_skipped_and_recorded(tmp_path: Path) -> None:
    release = asyncio.Event()

    @cron("long", every=1)
    async def long() -> None:
        await release.wait()

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db")
        async with scheduled(store, long):

            async def skipped() -> bool:
                return (await states(store))[:3] == ["running", "skipped", "skipped"]

            await until(skipped)
            release.set()

    asyncio.run(main())


def test_queued_ticks_run_one_behind_the_other(tmp_path: Path) -> None:
    running = 0
    most = 0
    done: list[datetime] = []

    @cron("queued", every=2, overlap="queue")
    async def queued(tick: Tick) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(2.6 if not done else 0)
        running -= 1
        done.append(tick.scheduled_at)

    async def main() -> None:
        async with scheduled(LocalStore(tmp_path / "cron.db"), queued):
            await until(lambda: len(done) >= 3)

    asyncio.run(main())
    assert most == 1
    assert done == sorted(done)
    assert done[1] - done[0] == timedelta(seconds=2)


def test_a_graceful_stop_finishes_what_ends_in_time_and_gives_back_the_rest(tmp_path: Path) -> None:
    started = asyncio.Event()

    @cron("stuck", every="24h", catch_up="24h")
    async def stuck() -> None:
        started.set()
        await asyncio.sleep(60)

    @cron("quick", every="24h", catch_up="24h")
    async def quick() -> None:
        await started.wait()
        await asyncio.sleep(0.05)

    async def main() -> dict[str, Run]:
        path = tmp_path / "cron.db"
        store = LocalStore(path, NOON)
        await seed(store, stuck, quick)
        scheduler = Scheduler({"stuck": stuck, "quick": quick}, store, "a", call_handler)
        turning = asyncio.ensure_future(scheduler.run())
        await started.wait()
        scheduler.stop()
        await turning
        await scheduler.drain(2)
        runs = {run.job: run for run in await store.history(None, 10)}
        assert (await store.look())[1] == {"stuck"}
        claim = await store.claim_waiting("stuck", "b", "skip", 1)
        assert claim is not None
        assert claim.attempt == 1
        await store.close()
        return runs

    runs = asyncio.run(main())
    assert runs["quick"].state == "done"
    assert runs["stuck"].state == "running"


def test_only_the_leader_claims(tmp_path: Path) -> None:
    runs: list[None] = []

    @cron("hourly", every="1h", catch_up="1h")
    async def hourly() -> None:
        runs.append(None)

    async def main() -> None:
        leads = False
        store = LocalStore(tmp_path / "cron.db", NOON)
        await seed(store, hourly)
        async with scheduled(store, hourly, leads=lambda: leads):
            await asyncio.sleep(0.3)
            assert runs == []
            leads = True
            await until(lambda: len(runs) == 1)

    asyncio.run(main())


def test_a_state_directory_that_is_removed_is_told_and_ends_no_scheduler(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    runs: list[None] = []

    @cron("hourly", every="1h", catch_up="1h")
    async def hourly() -> None:
        runs.append(None)

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", NOON)
        await seed(store, hourly)
        async with scheduled(store, hourly, leads=Leader(state / "cron.leader").try_hold):
            await until(lambda: "the store of runs can't be reached" in caplog.text)
            assert not runs
            state.mkdir()
            await until(lambda: bool(runs))

    asyncio.run(main())


def test_what_nobody_foresaw_is_told_and_ends_no_scheduler(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs: list[None] = []
    errors = [RuntimeError("unforeseen")]

    @cron("hourly", every="1h", catch_up="1h")
    async def hourly() -> None:
        runs.append(None)

    def leads() -> bool:
        if errors:
            raise errors.pop()
        return True

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", NOON)
        await seed(store, hourly)
        async with scheduled(store, hourly, leads=leads):
            await until(lambda: bool(runs))

    asyncio.run(main())
    assert "the scheduler failed" in caplog.text
    assert "unforeseen" in caplog.text


def test_a_store_that_comes_and_goes_is_told_once_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs: list[None] = []
    caplog.set_level(logging.INFO, "fastlane.cron")

    @cron("often", every=1)
    async def often() -> None:
        runs.append(None)

    async def main() -> None:
        directory = tmp_path / "later"
        async with scheduled(LocalStore(directory / "cron.db"), often):
            await until(lambda: "can't be reached" in caplog.text)
            await asyncio.sleep(0.2)
            directory.mkdir()
            await until(lambda: len(runs) >= 1)

    asyncio.run(main())
    assert caplog.text.count("can't be reached") == 1
    assert caplog.text.count("the store of runs is back") == 1


def test_a_job_that_computes_keeps_its_lease_in_the_second_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []
    renewed: list[bool] = []

    @cron("computing", every="24h", catch_up="24h")
    async def computing(tick: Tick) -> None:
        attempts.append(tick.attempt)
        end = time.monotonic() + 30
        while len(renewed) < 5 and time.monotonic() < end:
            time.sleep(0.01)  # a computation: the main loop stands still

    async def main() -> None:
        path = tmp_path / "cron.db"
        store = LocalStore(path, NOON)
        await seed(store, computing)
        original = LocalStore.renew

        async def renew(self: LocalStore, claim: Any) -> bool:
            renewed.append(await original(self, claim))
            return renewed[-1]

        monkeypatch.setattr(LocalStore, "renew", renew)
        own = LocalStore(path, NOON)
        clockwork = Clockwork(lambda call: Scheduler({"computing": computing}, own, "a", call), own.close)
        clockwork.start()
        await until(lambda: _ended(store))
        await clockwork.drain(1.0)
        assert len(renewed) >= 5
        assert all(renewed)
        assert await states(store) == ["done"]
        await store.close()

    asyncio.run(main())
    assert attempts == [1]


def test_the_second_thread_gives_back_a_run_only_when_it_has_ended(tmp_path: Path) -> None:
    ended: list[float] = []
    started = asyncio.Event()

    @cron("stuck", every="24h", catch_up="24h")
    async def stuck() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.2)
            ended.append(time.monotonic())

    async def main() -> None:
        path = tmp_path / "cron.db"
        store = LocalStore(path, NOON)
        await seed(store, stuck)
        own = LocalStore(path, NOON)
        clockwork = Clockwork(lambda call: Scheduler({"stuck": stuck}, own, "a", call), own.close)
        clockwork.start()
        await asyncio.wait_for(started.wait(), 30)  # what the store calls running may not have begun here
        await clockwork.drain(0.0)
        assert len(ended) == 1
        assert (await store.look())[1] == {"stuck"}
        await store.close()

    asyncio.run(main())


def test_a_job_that_goes_on_after_its_thread_has_ended_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastlane.cron.clockwork.CANCEL_SECONDS", 0.05)
    started, drained, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @cron("stubborn", every="24h", catch_up="24h")
    async def stubborn() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            await drained.wait()
            ended.set()

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", NOON)
        await seed(store, stubborn)
        clockwork = Clockwork(lambda call: Scheduler({"stubborn": stubborn}, store, "a", call), store.close)
        clockwork.start()
        await asyncio.wait_for(started.wait(), 30)
        await clockwork.drain(0.0)
        drained.set()
        await asyncio.wait_for(ended.wait(), 30)
        await asyncio.sleep(0)  # its callbacks come in the turn after

    asyncio.run(main())
    assert caplog.messages == []


@pytest.mark.parametrize("is_blocking", [False, True])
@pytest.mark.parametrize(
    "ending", [asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit, BaseException, StopIteration]
)
def test_a_job_that_ends_itself_has_failed_once_and_its_worker_lives(
    tmp_path: Path, ending: type[BaseException], is_blocking: bool
) -> None:
    attempts: list[int] = []

    def blocking(tick: Tick) -> None:
        attempts.append(tick.attempt)
        raise ending

    async def suspending(tick: Tick) -> None:
        blocking(tick)

    job = cron("ending", every="24h", catch_up="24h")(blocking if is_blocking else suspending)

    async def main() -> None:
        path = tmp_path / "cron.db"
        store = LocalStore(path, NOON)
        await seed(store, job)
        own = LocalStore(path, NOON)
        clockwork = Clockwork(lambda call: Scheduler({"ending": job}, own, "a", call), own.close)
        clockwork.start()
        await until(lambda: _ended(store))
        await clockwork.drain(1.0)
        (run,) = await store.history(None, 10)
        assert run.state == "failed"
        assert run.error is not None
        assert run.error.startswith("RuntimeError: ")
        await store.close()

    asyncio.run(main())
    assert attempts == [1]


def test_a_renewal_that_meets_the_end_of_a_run_is_no_lost_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @cron("meeting", every="24h", catch_up="24h", retry=Retry(min_backoff=0, max_attempts=2))
    async def meeting() -> None:
        raise ValueError

    def slow(name: str) -> None:
        original = getattr(LocalStore, name)

        async def after_a_while(self: LocalStore, *arguments: Any) -> Any:
            result = await original(self, *arguments)
            await asyncio.sleep(0.2)  # four renewals would fall into it
            return result

        monkeypatch.setattr(LocalStore, name, after_a_while)

    slow("advance")
    slow("finish")

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", NOON)
        await seed(store, meeting)
        async with scheduled(store, meeting) as scheduler:
            await until(lambda: _ended(store))
            await until(lambda: not scheduler.runs)
            assert (await store.history(None, 10))[0].attempt == 2

    asyncio.run(main())
    assert "lease" not in caplog.text


def test_a_tick_that_was_run_in_its_time_is_not_called_too_old_after_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @cron("daily", every="24h", catch_up=0)
    async def daily() -> None: ...

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", clock=lambda: 1_800_000_000.0 // 86400 * 86400 + 3600)
        await seed(store, daily)
        claim = await store.claim("daily", daily.schedule.before((await store.look())[0]), "b", "skip")
        assert claim is not None
        await store.finish(claim, "done", None)
        async with scheduled(store, daily) as scheduler:
            await until(lambda: "daily" in scheduler._seen and scheduler._seen["daily"] == claim.scheduled_at)

    asyncio.run(main())
    assert "too old" not in caplog.text


def test_a_clock_that_is_set_back_puts_no_tick_off(tmp_path: Path) -> None:
    ticks: list[datetime] = []
    clock = Clock()

    @cron("often", every=1)
    async def often(tick: Tick) -> None:
        ticks.append(tick.scheduled_at)

    async def main() -> None:
        async with scheduled(LocalStore(tmp_path / "cron.db", clock), often):
            await until(lambda: len(ticks) >= 2)
            clock.ahead, before = clock.ahead - 7200, len(ticks)
            await until(lambda: len(ticks) >= before + 2)

    asyncio.run(main())
    assert len(set(ticks)) == len(ticks)
    assert ticks[-1] < ticks[0]


def test_a_clock_that_is_set_forward_takes_no_run_away_from_its_own_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler_module, "RENEW_SECONDS", 10.0)  # several looks come first
    attempts: list[int] = []
    clock = Clock()

    @cron("long", every="24h", catch_up="24h")
    async def long(tick: Tick) -> None:
        attempts.append(tick.attempt)
        clock.ahead += 60
        await asyncio.sleep(0.5)

    async def main() -> None:
        store = LocalStore(tmp_path / "cron.db", clock)
        await seed(store, long)
        async with scheduled(store, long):
            await until(lambda: _ended(store))
            assert (await states(store))[0] == "done"

    asyncio.run(main())
    assert attempts == [1]
    assert "lost" not in caplog.text


def test_a_schedule_is_asked_when_its_tick_has_come_and_not_at_every_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[datetime] = []
    ticks: list[datetime] = []
    before = CronExpression.before

    def counted(self: CronExpression, moment: datetime) -> datetime:
        asked.append(moment)
        return before(self, moment)

    monkeypatch.setattr(CronExpression, "before", counted)

    @cron("often", every=1)
    async def often(tick: Tick) -> None:
        ticks.append(tick.scheduled_at)

    @cron("seldom", schedule="0 0 1 1 *")
    async def seldom() -> None: ...

    async def main() -> None:
        async with scheduled(LocalStore(tmp_path / "cron.db", Clock()), often, seldom):
            await until(lambda: len(ticks) >= 3)

    asyncio.run(main())
    assert len(asked) == 1


def test_a_slow_answer_about_the_time_puts_no_tick_off_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "LOOK_SECONDS", 60.0)
    ticks: list[datetime] = []

    class Slow(LocalStore):
        """Its first look waits on the way there, as for a server that is stopped."""

        looks = 0

        async def look(self) -> tuple[datetime, frozenset[str]]:
            self.looks += 1
            if self.looks == 1:
                await asyncio.sleep(4.5)  # half of it is more than two ticks
            return await super().look()

    @cron("often", every=1)
    async def often(tick: Tick) -> None:
        ticks.append(tick.scheduled_at)

    async def main() -> None:
        store = Slow(tmp_path / "cron.db")
        async with scheduled(store, often):
            await until(lambda: len(ticks) >= 3, 20)
        assert store.looks == 2

    asyncio.run(main())
