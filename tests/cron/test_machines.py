"""Several machines on one database, their clocks wrong by up to a minute, the winner of a tick killed at random."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

MACHINE = """
import asyncio, datetime, os, sys, time
SKEW = float(sys.argv[2])
real = time.time
time.time = lambda: real() + SKEW

from fastlane.cron import store
store.LEASE_SECONDS = 3.0
from fastlane.cron import cron, scheduler
from fastlane.cron.database_store import DatabaseStore
from fastlane.cron.clockwork import Clockwork
import asyncpg

dsn = sys.argv[1]

async def main():
    connection = await asyncpg.connect(dsn)

    @cron("job", every=2, overlap="allow", catch_up="1h")
    async def job(tick):
        me = os.getpid()
        await connection.execute("INSERT INTO log VALUES ($1, $2, $3, 'begin')", tick.scheduled_at, tick.attempt, me)
        await asyncio.sleep(0.4)
        await connection.execute("INSERT INTO log VALUES ($1, $2, $3, 'end')", tick.scheduled_at, tick.attempt, me)

    own = DatabaseStore(lambda: {"dsn": dsn})
    clockwork = Clockwork(
        lambda call: scheduler.Scheduler({"job": job}, own, f"machine {os.getpid()}", call), own.close
    )
    clockwork.start()
    print("up", flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""
EVERY = 2.0
"""Seconds, as above. A tick is left out only while no machine, nor the database, does anything for so long."""
TICKS = 14


class Machines:
    """Four processes; one that is killed is started again."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._random = random.Random(7)
        self._processes = {skew: self._start(skew) for skew in (-60.0, -20.0, 0.0, 50.0)}

    def _start(self, skew: float) -> subprocess.Popen[str]:
        source = MACHINE.replace("async def job(tick)", "async def job(tick: 'Tick')")
        return subprocess.Popen([sys.executable, "-c", source, self._dsn, str(skew)], stdout=subprocess.PIPE, text=True)

    def kill(self, pid: int) -> None:
        for skew, process in self._processes.items():
            if process.pid == pid:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                self._processes[skew] = self._start(skew)

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()


@pytest.mark.process
def test_each_tick_is_handled_and_none_twice_at_the_same_time(dsn: str, tmp_path: Path) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "CREATE TABLE log (tick timestamptz, attempt int, pid int, what text, "
            "at timestamptz DEFAULT clock_timestamp())"
        )
        machines = Machines(dsn)
        kills = 0
        try:
            end = time.monotonic() + 90
            while True:
                handled = await connection.fetchval("SELECT count(DISTINCT tick) FROM log WHERE what = 'end'")
                if handled >= TICKS:
                    break
                assert time.monotonic() < end, f"only {handled} ticks were handled"
                if kills < 4 and handled >= 3 * (kills + 1) - 1:
                    # The winner, in the midst of its work.
                    pid = await connection.fetchval(
                        "SELECT pid FROM log l WHERE what = 'begin' AND NOT EXISTS (SELECT FROM log e "
                        "WHERE e.what = 'end' AND e.tick = l.tick AND e.attempt = l.attempt) ORDER BY at DESC LIMIT 1"
                    )
                    if pid is not None:
                        machines.kill(pid)
                        kills += 1
                await asyncio.sleep(0.05)
            # What was killed is handled by somebody else, as the next attempt.
            while await connection.fetchval(
                "SELECT count(*) FROM fastlane.cron_run "
                "WHERE state = 'running' AND scheduled_at < now() - interval '1.5 s'"
            ):
                assert time.monotonic() < end
                await asyncio.sleep(0.1)
        finally:
            machines.end()
        rows = await connection.fetch("SELECT tick, attempt, pid, what, at FROM log ORDER BY at")
        begun = sorted({row["tick"] for row in rows})
        ended = {row["tick"] for row in rows if row["what"] == "end"}
        newest = begun[-3:]
        assert [tick for tick in begun if tick not in ended and tick not in newest] == []
        gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(begun)]
        assert gaps == [EVERY] * len(gaps)
        # One start for each attempt, each after the one before it was over or its machine dead.
        starts = [(row["tick"], row["attempt"]) for row in rows if row["what"] == "begin"]
        assert len(starts) == len(set(starts))
        for row in rows:
            if row["what"] == "begin":
                assert (row["at"] - row["tick"]).total_seconds() > 0, "before its time by the server's clock"
        again = [attempt for _, attempt in starts if attempt > 1]
        assert kills == 4
        assert 1 <= len(again) <= 8
        await connection.close()

    asyncio.run(main())
