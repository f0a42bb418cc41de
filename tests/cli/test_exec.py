"""``fastlane exec``: failures, and whose configuration holds. What it prepares is in ``test_scripts``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shop import Shop

pytestmark = pytest.mark.process

APP = """
from fastlane import App
from fastlane.cron import cron
from fastlane.sql import Database

app = App()

@cron("tick", every="1h")
async def tick() -> None: ...
"""
SCRIPT = """
import asyncio
from app import app

async def main():
    async with app.resources():
        print("bound")
asyncio.run(main())
"""
CLOSING = "import os, sys; os.execv(sys.executable, [sys.executable, 'script.py'])"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.write("app.py", APP)
    shop.write("script.py", SCRIPT)
    return shop


def test_a_database_that_is_not_there_is_one_message(shop: Shop) -> None:
    shop.write("app.py", APP + "\ndb = Database('blog', migrations=None)\n")
    shop.write("fastlane.toml", "[sql.databases.blog]\nurl = 'postgresql://a:s3cret-word@127.0.0.1:1/x'\n")
    refused = shop.run("exec", "app:app", "--boot-timeout", "1", "--", "true")
    assert refused.code == 1
    assert "Error: database 'blog' can't be reached within 0.8 s" in refused.err
    assert "s3cret-word" not in refused.err


def test_dev_reads_no_file_of_production_not_even_where_the_preparation_is_lost(shop: Shop) -> None:
    shop.write("fastlane.toml", "[cron]\nstore = 'nowhere'\n")
    assert shop.run("exec", "app:app", "--", sys.executable, "script.py").code == 2
    for variables in ({}, {"FASTLANE_CONFIG": "fastlane.toml"}):
        done = shop.run("exec", "app:app", "--dev", "--", sys.executable, "script.py", **variables)
        assert (done.code, done.out, done.err) == (0, "bound\n", "")
    lost = "import os, subprocess, sys; sys.exit(subprocess.run([sys.executable, 'script.py']).returncode)"
    done = shop.run("exec", "app:app", "--dev", "--", sys.executable, "-c", lost)
    assert (done.code, done.out, done.err) == (0, "bound\n", "")
    shop.write("fastlane.dev.toml", "[cron]\nstore = 'nobody'\n")
    refused = shop.run("exec", "app:app", "--dev", "--", sys.executable, "script.py")
    assert refused.code == 2
    assert "fastlane.dev.toml: cron.store" in refused.err


def test_a_variable_says_embedded_for_the_command_too(shop: Shop) -> None:
    done = shop.run("exec", "app:app", "--embedded", "--", sys.executable, "-c", CLOSING)
    assert (done.code, done.out) == (0, "bound\n")
    done = shop.run("exec", "app:app", "--", sys.executable, "-c", CLOSING, FASTLANE_EMBEDDED="yes")
    assert (done.code, done.out) == (0, "bound\n")


LISTENING = """
import signal, sys
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
for name in ("INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"):
    signal.signal(getattr(signal, "SIG" + name), told)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(42))
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_the_command_gets_every_signal_that_is_meant_for_it(shop: Shop) -> None:
    command = [sys.executable, "-m", "fastlane", "exec", "app:app", "--dev", "--", sys.executable, "-c", LISTENING]
    with subprocess.Popen(
        command,
        cwd=shop.directory,
        env={**os.environ, **shop.environment},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # no terminal, which would have sent some of them to both
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"):
                process.send_signal(getattr(signal, name))
                assert process.stdout.readline() == f"{name}\n"
            process.terminate()
            assert process.wait(60) == 42
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_its_help_has_an_example(shop: Shop) -> None:
    assert "Example: fastlane exec app:app -- python" in shop.run("exec", "--help").out
