"""``fastlane cron``: when jobs are due, running one by hand, and what became of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fastlane.cron.job import CronJob
from fastlane.cron.local_store import LocalStore
from fastlane.cron.run import Tick
from fastlane.cron.store import Claim, StoreUnavailable
from fastlane.sql.embedded import EmbeddedServer
from tests.cli.shop import Shop, embedded_servers

pytestmark = pytest.mark.process

LOCAL = """
from fastlane import App
from fastlane.cron import cron

app = App()

@cron("tick", every="1h")
async def tick() -> None:
    print("ticked")
"""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedServer, Path]]:
    yield from embedded_servers(tmp_path_factory.mktemp("state"))


@pytest.fixture
def shop(tmp_path: Path, embedded: tuple[EmbeddedServer, Path]) -> Shop:
    return Shop(tmp_path, *embedded)


@contextmanager
def running(shop: Shop, job: str) -> Iterator[subprocess.Popen[str]]:
    """``fastlane cron run`` of a job that has begun."""
    with subprocess.Popen(
        [sys.executable, "-m", "fastlane", "cron", "run", "shop:app", job, "--embedded"],
        cwd=shop.directory,
        env={**os.environ, **shop.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


def test_the_list_needs_no_configuration_and_has_the_next_tick(shop: Shop) -> None:
    shown = shop.run("cron", "list", "shop:app")
    assert shown.code == 0
    assert [line.split("  ")[0] for line in shown.out.splitlines()] == ["broken", "line", "slow", "trending"]
    rows = json.loads(shop.run("cron", "list", "shop:app", "--json").out)
    assert rows[-1]["schedule"] == "every 10m"
    assert rows[-1]["declared"].startswith("shop.py:")
    assert datetime.fromisoformat(rows[-1]["next"]) > datetime(2020, 1, 1, tzinfo=UTC)
    shop.write("bare.py", "from fastlane import App\napp = App()\n")
    assert shop.run("cron", "list", "bare:app").out == "bare:app declares no cron job\n"
    outcome = shop.run("cron", "history", "bare:app")
    assert (outcome.code, outcome.err) == (2, "fastlane: bare:app declares no cron job\n")


def test_a_job_runs_with_its_resources_and_its_failure_has_its_own_traceback(shop: Shop) -> None:
    done = shop.run("cron", "run", "shop:app", "trending", "--embedded")
    assert (done.code, done.out, done.err) == (0, "posts: 0\ntrending: done\n", "")
    failed = shop.run("cron", "run", "shop:app", "broken", "--embedded", WHY="two\nlines", TRACEBACK="1")
    assert failed.code == 1
    assert failed.out == ""
    lines = failed.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{shop.directory}/shop.py", line ')
    assert lines[-1] == "Error: broken: RuntimeError: two lines"
    history = shop.run("cron", "history", "shop:app", "--embedded").out.splitlines()
    assert [line.split("  ")[1:3] for line in history] == [["broken", "failed"], ["trending", "done"]]
    assert history[0].endswith("RuntimeError: two lines")
    (row,) = json.loads(shop.run("cron", "history", "shop:app", "broken", "--limit", "1", "--json", "--embedded").out)
    assert (row["state"], row["attempt"], row["error"]) == ("failed", 1, "RuntimeError: two lines")


def test_no_secret_of_a_failed_job_is_shown_or_recorded(shop: Shop) -> None:
    shop.write(
        "hidden.py",
        "from fastlane import App\nfrom fastlane.cron import cron\nfrom fastlane.secrets import Secret\n"
        "app, key = App(), Secret('KEY')\n@cron('tell', every='1h')\n"
        "def tell() -> None:\n    raise RuntimeError(f'it is {key.get()}')\n",
    )
    shop.write("hidden.toml", "[cron]\nstore = 'local'\n")
    told = shop.run("cron", "run", "hidden:app", "tell", "-c", "hidden.toml", KEY="c4nary-in-a-mine", TRACEBACK="1")
    assert told.code == 1
    assert "Error: tell: RuntimeError: it is ***KEY***\n" in told.err
    kept = shop.run("cron", "history", "hidden:app", "-c", "hidden.toml", "--json", KEY="another-value")
    assert "it is ***KEY***" in kept.out
    assert "c4nary" not in told.err + told.out + kept.out


def test_a_job_beside_a_live_run_does_as_its_overlap_says(shop: Shop) -> None:
    with running(shop, "slow") as process:
        second = shop.run("cron", "run", "shop:app", "slow", "--embedded")
        assert second.code == 1
        assert second.err == "Error: slow: another run is live (overlap skip): not run\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    rows = json.loads(shop.run("cron", "history", "shop:app", "slow", "--json", "--embedded").out)
    assert [(row["state"], row["error"]) for row in rows] == [("skipped", None), ("failed", "interrupted")]


def test_a_run_that_is_interrupted_is_recorded_as_ended(shop: Shop) -> None:
    with running(shop, "slow") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
    (row,) = json.loads(shop.run("cron", "history", "shop:app", "--json", "--embedded").out)
    assert (row["state"], row["error"]) == ("failed", "interrupted")


def test_a_run_that_has_to_wait_is_left_to_a_worker(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.write("line.py", LOCAL.replace('every="1h"', 'every="1h", overlap="queue"'))
    shop.write("fastlane.toml", "[cron]\nstore = 'local'\n")
    shop.state.mkdir()

    async def occupy() -> None:
        store = LocalStore(shop.state / "cron.db")
        now, _ = await store.look()
        assert await store.claim("tick", now, "somebody", "queue") is not None
        await store.close()

    asyncio.run(occupy())
    outcome = shop.run("cron", "run", "line:app", "tick")
    assert outcome.code == 1
    assert outcome.err == "Error: tick: another run is live (overlap queue): it is queued, for a worker to run\n"


def test_a_single_machine_keeps_its_runs_in_a_file(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.write("local.py", LOCAL)
    refused = shop.run("cron", "run", "local:app", "tick")
    assert refused.code == 2
    assert 'mend: store = "local" in [cron]' in refused.err
    shop.write("fastlane.toml", "[cron]\nstore = 'local'\n")
    assert shop.run("cron", "history", "local:app").out == "no run yet\n"
    assert shop.run("cron", "run", "local:app", "tick").out == "ticked\ntick: done\n"
    assert re.search(r"  tick  done  \d+\.\d\d s\n", shop.run("cron", "history", "local:app").out)


def test_on_a_laptop_the_configuration_of_production_is_not_read(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.write("local.py", LOCAL)
    shop.write("fastlane.toml", "[cron]\nstore = 'nowhere'\n")
    assert shop.run("cron", "run", "local:app", "tick").code == 2
    for variables in ({}, {"FASTLANE_CONFIG": "fastlane.toml"}):
        done = shop.run("cron", "run", "local:app", "tick", "--dev", **variables)
        assert (done.code, done.out) == (0, "ticked\ntick: done\n")


def test_a_history_without_its_table_says_how_it_is_made(shop: Shop) -> None:
    outcome = shop.run("cron", "history", "shop:app", "--embedded")
    assert outcome.code == 1
    assert outcome.err.endswith("mend: run `fastlane sql migrate APP`\n")


@pytest.mark.parametrize("verb", ["run", "history"])
def test_a_job_that_is_not_there_is_told_with_those_that_are(shop: Shop, verb: str) -> None:
    outcome = shop.run("cron", verb, "shop:app", "nobody", "--embedded")
    assert outcome.code == 2
    assert outcome.err == (
        "fastlane: shop:app declares no cron job 'nobody'\n    mend: write one of broken, line, slow, trending\n"
    )


class Losing(LocalStore):
    """A store that can be out of reach, or have given the run to somebody else."""

    def __init__(self, path: Path, answer: bool | None) -> None:
        super().__init__(path)
        self.answer = answer

    async def renew(self, claim: Claim) -> bool:
        if self.answer is None:
            raise StoreUnavailable("gone")
        return self.answer


@pytest.mark.parametrize("answer", [False, None])
def test_a_run_whose_lease_is_lost_is_cancelled(
    answer: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastlane.cron import cron
    from fastlane_cli.cron import LeaseLost, _held

    monkeypatch.setattr("fastlane.cron.store.LEASE_SECONDS", 0.2)
    ended: list[str] = []

    @cron("held", every="1h")
    async def held() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    assert isinstance(held, CronJob)
    store = Losing(tmp_path / "cron.db", answer)
    now = datetime.now(UTC)
    with pytest.raises(LeaseLost, match="somebody else may have started it"):
        asyncio.run(_held(held, Tick("held", now, 1), store, Claim("held", now, "here", 1)))
    assert ended == ["cancelled"]


def test_a_run_keeps_its_lease_for_as_long_as_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlane.cron import cron
    from fastlane_cli.cron import _held

    monkeypatch.setattr("fastlane.cron.store.LEASE_SECONDS", 0.03)
    renewals: list[Claim] = []
    enough = asyncio.Event()

    class Counting(LocalStore):
        async def renew(self, claim: Claim) -> bool:
            renewals.append(claim)
            if len(renewals) == 5:
                enough.set()
            return True

    @cron("kept", every="1h")
    async def kept() -> None:
        await enough.wait()

    now = datetime.now(UTC)
    store = Counting(tmp_path / "cron.db")
    asyncio.run(_held(kept, Tick("kept", now, 1), store, Claim("kept", now, "here", 1)))
    assert len(renewals) >= 5


@pytest.mark.parametrize("verb", ["list", "run", "history"])
def test_the_help_of_every_verb_has_an_example(tmp_path: Path, verb: str) -> None:
    assert f"Example: fastlane cron {verb} app:app" in Shop(tmp_path).run("cron", verb, "--help").out
