"""The clock of one worker: claims ticks, runs what it has claimed, and takes over what others left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from fastlane.cron.job import CronJob
from fastlane.cron.run import Tick, one_line
from fastlane.cron.store import LEASE_SECONDS, MOST_ATTEMPTS, Claim, NotDue, Store, StoreUnavailable

__all__ = ["Scheduler"]

LOOK_SECONDS = LEASE_SECONDS / 3
"""Between two looks at the store: for its time, and for runs that wait."""
RENEW_SECONDS = LEASE_SECONDS / 3
AGAIN_SECONDS = 1.0
"""Before a store that could not be reached is asked again."""
SKEW_SECONDS = 0.1
"""How wrong the store's time may be known before it is asked for anew."""
MARGIN_SECONDS = 0.002
"""After a tick: the store's clock has it, too, by then."""

T = TypeVar("T")
Call = Callable[[CronJob, Tick], Awaitable[object]]

logger = logging.getLogger("fastlane.cron")


class Scheduler:
    """Runs jobs at their ticks, at most one live run of a tick across all schedulers on one store.

    Args:
        jobs: by name.
        owner: what the store calls this scheduler; no other one has it.
        call: runs a job's function.
        leads: whether this process may claim now; asked at every turn.
    """

    def __init__(
        self,
        jobs: Mapping[str, CronJob],
        store: Store,
        owner: str,
        call: Call,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.runs: set[asyncio.Task[None]] = set()
        self._jobs = jobs
        self._store = store
        self._owner = owner
        self._call = call
        self._leads = leads
        # The last tick of each job that is settled, as far as this one is concerned.
        self._seen: dict[str, datetime] = {}
        self._due: dict[str, datetime] = {}  # the tick after that
        self._leases: dict[str, set[_Lease]] = {}  # of the runs that are live here
        self._epoch = datetime.min  # the store's time at zero of the loop's
        self._looked = -math.inf
        self._is_lost = False
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`. An error of the store is no end: it is logged once, and tried again."""
        while not self._stop.is_set():
            delay = LOOK_SECONDS
            try:
                if self._leads():
                    delay = await self._turn()
                    self._note_found()
            except (StoreUnavailable, OSError) as error:  # the latter: of the state directory, which may be removed
                delay = AGAIN_SECONDS
                self._note_lost(error)
            except Exception:  # a bug: not silent, and no reason for no job to run ever again
                logger.exception("cron: the scheduler failed; trying again in %g s", delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)

    def stop(self) -> None:
        """Claim nothing more: `run` ends soon. It is not cancelled: a claim on its way would be nobody's."""
        self._stop.set()

    async def drain(self, timeout: float) -> None:
        """After `run` has ended: let runs end for ``timeout`` seconds, cancel the others and give them back."""
        if self.runs:
            await asyncio.wait(self.runs, timeout=timeout)
        for task in self.runs:
            task.cancel()
        if self.runs:
            await asyncio.wait(self.runs)

    async def _turn(self) -> float:
        """Claim what is due and what waits; answers how long nothing else will be."""
        loop = asyncio.get_running_loop()
        waiting: frozenset[str] = frozenset()
        if loop.time() - self._looked >= LOOK_SECONDS:
            asked = loop.time()
            now, waiting = await self._store.look()
            # Half of the way there and back. Not the clock of this machine: it may be wrong by a minute.
            self._looked = loop.time()
            self._epoch = now - timedelta(seconds=asked + (self._looked - asked) / 2)
        for name, job in self._jobs.items():
            if name not in self._seen:
                self._seen[name] = await self._store.register(name, str(job.schedule))
        delay = LOOK_SECONDS - (loop.time() - self._looked)
        for job in self._jobs.values():
            if not self._stop.is_set():
                delay = min(delay, await self._claim(job))
        for name in waiting & self._jobs.keys():
            if not self._stop.is_set():
                # The store's clock may have been set forward, or this machine have slept: what runs here is not lost.
                for lease in tuple(self._leases.get(name, ())):
                    await lease.renew()
                await self._claim_waiting(self._jobs[name])
        return max(delay, 0.0)

    def _now(self) -> datetime:
        return self._epoch + timedelta(seconds=asyncio.get_running_loop().time())

    async def _claim(self, job: CronJob) -> float:
        """Take the job's newest tick, if it is new; answers the seconds until the next one."""
        now = self._now()
        is_set_back = self._seen[job.name] - now > timedelta(seconds=LOOK_SECONDS)
        due = self._due.get(job.name)
        if due is not None and now < due and not is_set_back:
            return (due - now).total_seconds() + MARGIN_SECONDS  # PERF: to ask the schedule takes up to a millisecond
        tick = job.schedule.before(now)
        if is_set_back:
            # The store's clock was set back. Ticks that had come already have their rows; the others are not put off.
            self._seen[job.name] = tick
        if tick > self._seen[job.name]:
            late = (now - tick).total_seconds()
            if late <= job.catch_up(now) or late <= LOOK_SECONDS:
                try:
                    claim = await self._store.claim(job.name, tick, self._owner, job.settings.overlap)
                except NotDue as error:
                    if error.seconds > SKEW_SECONDS:
                        self._looked = -math.inf  # what it knows of the store's time was a slow answer
                    return error.seconds + MARGIN_SECONDS
                if claim is not None:
                    self._start(job, claim)
            elif not await self._is_known(job, tick):
                logger.warning("cron job %r: the tick of %s is too old to be caught up", job.name, tick.isoformat())
            self._seen[job.name] = tick
        self._due[job.name] = following = job.schedule.after(now)
        return (following - self._now()).total_seconds() + MARGIN_SECONDS

    async def _is_known(self, job: CronJob, tick: datetime) -> bool:
        """Whether somebody dealt with the tick in its time: after a start nothing else is known of it."""
        return any(run.scheduled_at >= tick for run in await self._store.history(job.name, 1))

    async def _claim_waiting(self, job: CronJob) -> None:
        retry = job.settings.retry
        attempts = MOST_ATTEMPTS
        if retry is not None:
            attempts = max(attempts, retry.max_attempts or 2**31 - 1)
        claim = await self._store.claim_waiting(job.name, self._owner, job.settings.overlap, attempts)
        if claim is not None:
            if claim.attempt > 1:
                logger.warning(
                    "cron job %r: the run of %s was lost: starting attempt %d",
                    job.name,
                    claim.scheduled_at.isoformat(),
                    claim.attempt,
                )
            self._start(job, claim)

    def _start(self, job: CronJob, claim: Claim) -> None:
        task = asyncio.get_running_loop().create_task(self._hold(job, claim), name=f"cron job {job.name}")
        self.runs.add(task)
        task.add_done_callback(self.runs.discard)

    async def _hold(self, job: CronJob, claim: Claim) -> None:
        """Do a run while its lease holds; then whatever waited for its end."""
        lease = _Lease(self._store, claim)
        self._leases.setdefault(job.name, set()).add(lease)
        work = asyncio.ensure_future(self._do(job, lease))
        keeper = asyncio.ensure_future(lease.keep())
        try:
            await asyncio.wait({work, keeper}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                logger.error(
                    "cron job %r: the run of %s is cancelled: its lease was lost",
                    job.name,
                    claim.scheduled_at.isoformat(),
                )
        except asyncio.CancelledError:
            pass  # this process stops; the run is given back below
        is_given_back = not work.done() and not keeper.done()
        work.cancel()
        await asyncio.wait({work})  # somebody else may start it only when it has ended here
        self._leases[job.name].discard(lease)
        keeper.cancel()
        with contextlib.suppress(StoreUnavailable):
            if is_given_back:
                await self._store.release(lease.claim)
            elif not self._stop.is_set():
                await self._claim_waiting(job)

    async def _do(self, job: CronJob, lease: _Lease) -> None:
        """Attempts until one succeeds or was the last."""
        if job.settings.jitter and lease.claim.attempt == 1:
            await asyncio.sleep(random.uniform(0, job.settings.jitter))
        while True:
            claim = lease.claim
            try:
                await self._call(job, Tick(job.name, claim.scheduled_at, claim.attempt))
            except Exception as error:
                retry = job.settings.retry
                logger.error("cron job %r: attempt %d failed", job.name, claim.attempt, exc_info=error)
                if retry is None or retry.exhausted(claim.attempt):
                    await lease.finish("failed", one_line(error))
                    return
                await asyncio.sleep(retry.delay(claim.attempt))
                if not await lease.advance():
                    return
            else:
                await lease.finish("done", None)
                return

    def _note_lost(self, error: Exception) -> None:
        if not self._is_lost:
            logger.error("cron: the store of runs can't be reached; trying again: %s", error)
        self._is_lost = True

    def _note_found(self) -> None:
        if self._is_lost:
            logger.info("cron: the store of runs is back")
        self._is_lost = False


class _Lease:
    """A claim that is kept alive. What the store can't be told at once is told as long as the lease holds."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self.claim = claim
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + LEASE_SECONDS
        # A renewal that meets the change of the attempt, or the end, would ask for what is no longer there.
        self._alone = asyncio.Lock()
        self._has_ended = False

    async def keep(self) -> None:
        """Ends when the lease is lost."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            async with self._alone:
                if not await self._renewed():
                    return

    async def renew(self) -> None:
        """Now, unless something else is asked about the claim: that holds it as well."""
        if not self._alone.locked():
            async with self._alone:
                await self._renewed()

    async def _renewed(self) -> bool:
        """False where the lease is lost, or may be before it is asked about again."""
        if self._has_ended:
            return True
        asked = self._loop.time()
        try:
            if not await self._store.renew(self.claim):
                return False
        except StoreUnavailable:
            # A little before its end: whoever takes it over must not meet this one.
            return self._loop.time() + RENEW_SECONDS + AGAIN_SECONDS <= self._until
        self._until = asked + LEASE_SECONDS
        return True

    async def advance(self) -> bool:
        async with self._alone:
            claim = await self._insist(lambda: self._store.advance(self.claim))
            self.claim = claim or self.claim
        return claim is not None

    async def finish(self, state: Literal["done", "failed"], error: str | None) -> None:
        async with self._alone:
            self._has_ended = True
            is_ours = await self._insist(lambda: self._store.finish(self.claim, state, error))
        if not is_ours:
            logger.warning("cron job %r: a run ended after its lease was lost", self.claim.job)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                if self._loop.time() > self._until:
                    return None
                await asyncio.sleep(AGAIN_SECONDS)
