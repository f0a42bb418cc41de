from __future__ import annotations

import asyncio
import itertools
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlane.pubsub.provider import Backlog
from tests.pubsub.providers.local.rig import TOPIC, bound, opened, rigged

pytestmark = pytest.mark.process

CHAOS = 10.0
LONGEST = 60.0
"""Seconds of chaos, also where processes start slowly."""
LIVES = (0.6, 1.6)
RANGE = 1_000_000


class Mortals:
    """Processes of `mortal`, which are killed and begin anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ranges = itertools.count()
        self._living: dict[subprocess.Popen[bytes], str] = {}
        self.deaths = 0

    def start(self, verb: str) -> None:
        file, log = self._directory / "pubsub.db", self._directory / f"{verb}.log"
        first = next(self._ranges) * RANGE
        environment = os.environ | {"TMPDIR": tempfile.gettempdir()}
        arguments = [sys.executable, "-m", "tests.pubsub.providers.local.mortal", verb, file, log, str(first)]
        # Also when the tests themselves are killed.
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        pipe = subprocess.PIPE
        process = subprocess.Popen([*guard, *map(str, arguments)], stdout=pipe, stderr=pipe, env=environment)
        self._living[process] = verb

    def kill(self, process: subprocess.Popen[bytes], *, expected: bool = True) -> str:
        """Answers what it was."""
        ended = process.poll()
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
        verb = self._living.pop(process)
        if expected:
            assert ended is None, f"{verb} ended by itself: {errors.decode()}"
            assert not errors, errors.decode()
            self.deaths += 1
        return verb

    def kill_one(self) -> None:
        """One that has begun, and now and then one that starts; or nobody yet."""
        begun, _, _ = select.select([process.stdout for process in self._living], [], [], 0)
        chosen = [process for process in self._living if process.stdout in begun or random.random() < 0.1]
        if chosen:
            self.start(self.kill(random.choice(chosen)))

    def kill_all(self, verb: str | None = None, *, expected: bool = True) -> None:
        for process, what in list(self._living.items()):
            if verb in (None, what):
                self.kill(process, expected=expected)


@pytest.fixture
def mortals(tmp_path: Path) -> Iterator[Mortals]:
    all_of_them = Mortals(tmp_path)
    yield all_of_them
    all_of_them.kill_all(expected=False)


def noted(path: Path) -> list[tuple[int, str]]:
    """Whole lines only: the last one may have been cut."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(int(number), key) for number, _, key in (line.partition(" ") for line in lines)]


@pytest.mark.timeout(200)
def test_nothing_confirmed_is_lost_and_no_key_out_of_order_while_processes_are_killed(tmp_path, mortals):
    async def drained() -> Backlog:
        async with rigged(tmp_path) as rig:
            administrator = await rig.administrator()
            deadline = time.monotonic() + 40
            while True:
                backlog = await administrator.backlog(bound())
                if backlog.waiting == backlog.in_flight == 0 or time.monotonic() > deadline:
                    return backlog
                await asyncio.sleep(0.1)

    async def provision() -> None:
        async with rigged(tmp_path) as rig:
            await (await rig.administrator()).provision([TOPIC], [bound()])

    asyncio.run(provision())
    for verb in ("publish", "publish", "consume", "consume"):
        mortals.start(verb)
    began = time.monotonic()
    confirmed: list[tuple[int, str]] = []
    while time.monotonic() < began + CHAOS or (
        (mortals.deaths <= 10 or len(confirmed) <= 500) and time.monotonic() < began + LONGEST
    ):
        time.sleep(random.uniform(*LIVES) / 4)
        mortals.kill_one()
        confirmed = noted(tmp_path / "publish.log")
    mortals.kill_all("publish")
    assert asyncio.run(drained()) == Backlog(0, 0, 0, False)
    mortals.kill_all("consume")

    confirmed, handled = noted(tmp_path / "publish.log"), noted(tmp_path / "consume.log")
    assert mortals.deaths > 10
    assert len(confirmed) > 500
    assert set(confirmed) <= set(handled)
    with opened(tmp_path / "pubsub.db") as store:
        assert store.one("PRAGMA integrity_check") == "ok"
        assert store.one("SELECT count(*) FROM message") == 0
    for key in {key for _, key in handled} - {"-"}:
        firsts = list(dict.fromkeys(number for number, other in handled if other == key))
        assert firsts == sorted(firsts), f"{key} is out of order"
