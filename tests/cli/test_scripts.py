"""``fastlane exec`` and ``fastlane shell``: what runs there finds the resources."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

APP = """
from fastlane import App
from fastlane.secrets import Secret

key = Secret("MAIL_KEY")
app = App()
"""

SCRIPT = """
import asyncio, os, sys
from hello import app, key

async def main():
    async with app.resources():
        print("in the script:", key.get(), [n for n in os.environ.values() if "very secret" in n])
asyncio.run(main())
sys.exit(7)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "hello.py").write_text(APP)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / ".env").write_text("MAIL_KEY=very secret\n")
    (tmp_path / "fastlane.toml").write_text('[secrets]\nprovider = "dotenv"\n')
    return tmp_path


def run(directory: Path, *arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastlane", *arguments],
        cwd=directory,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )


def test_a_script_finds_what_exec_has_prepared(directory: Path) -> None:
    # The file is gone by the time the script runs: only what was handed over can have the value.
    between = "import os; os.remove('.env'); os.execv(os.sys.executable, [os.sys.executable, 'script.py'])"
    done = run(directory, "exec", "hello:app", "--", sys.executable, "-c", between)
    assert "in the script: very secret []" in done.stdout, done.stderr
    assert done.returncode == 7


def test_a_program_that_closes_what_it_does_not_know_costs_one_more_preparation(directory: Path) -> None:
    between = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, 'script.py']).returncode)"
    done = run(directory, "exec", "hello", sys.executable, "-c", between)
    assert "in the script: very secret []" in done.stdout, done.stderr
    assert done.returncode == 7


def test_options_of_exec_may_stand_behind_the_target_where_dashes_say_where_the_command_begins(directory: Path) -> None:
    done = run(
        directory, "exec", "hello:app", "--embedded", "--", sys.executable, "-c", "import sys; print(sys.argv)", "--"
    )
    assert "['-c', '--']" in done.stdout, done.stderr


def test_exec_refuses_what_does_not_fit(directory: Path) -> None:
    (directory / ".env").write_text("")
    done = run(directory, "exec", "hello:app", "--", "true")
    assert done.returncode == 2
    assert "MAIL_KEY" in done.stderr


def test_exec_needs_a_command_that_is_there(directory: Path) -> None:
    assert run(directory, "exec", "hello:app").returncode == 2
    assert "which command?" in run(directory, "exec", "hello:app", "--").stderr
    done = run(directory, "exec", "hello:app", "--", "no-such-program")
    assert done.returncode == 127
    assert "no-such-program can't be run: No such file or directory" in done.stderr


def test_exec_without_resources_runs_the_command(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from fastlane import App\napp = App()\n")
    done = run(tmp_path, "exec", "plain:app", "--", sys.executable, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_exec_hands_signals_on(directory: Path) -> None:
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastlane", "exec", "hello:app", "--", *command],
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "up\n"
        end = time.monotonic() + 30
        while process.poll() is None:  # the first may come before the handler is set
            assert time.monotonic() < end
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM)


def test_the_shell_has_the_module_and_its_resources(directory: Path) -> None:
    typed = """\
key.get() + "!"
app
import asyncio
await asyncio.sleep(0, "slept")
1 / 0
def twice(x):
    return 2 * x

twice(21)
"""
    done = run(directory, "shell", "hello:app", typed=typed)
    assert "'very secret!'" in done.stdout
    assert "<fastlane.app.App object" in done.stdout
    assert "'slept'" in done.stdout
    assert "\n42" in done.stdout.replace(">>> ", "\n").replace("... ", "\n")
    assert "ZeroDivisionError" in done.stderr
    assert "its resources bound" in done.stderr
    assert done.returncode == 0


def test_exit_ends_the_shell(directory: Path) -> None:
    done = run(directory, "shell", "hello:app", typed="raise SystemExit(5)\n")
    assert done.returncode == 5
