"""moto's server: SNS and SQS (and STS) in memory, in a process of its own.

It has a virtual environment of its own, ``.build/moto-3.11``, since it pins another botocore than aiobotocore does.
That is built once for each Python, before the first test that asks for it: suites on two of them may run side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.servers.spawned import Spawned, free_port

__all__ = ["MotoServer", "build", "moto_environment"]

CHECKOUT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("moto-requirements.txt")


class MotoServer(Spawned):
    """A running moto. Any credentials do; ``url`` is the ``endpoint_url``."""

    ready = "/moto-api/data.json"

    def __init__(self) -> None:
        port = free_port()
        super().__init__([str(moto_environment() / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)], port)

    def reset(self) -> None:
        """Forget every topic and queue."""
        assert self.request("POST", "/moto-api/reset") == 200


def build() -> None:
    """The environment, before a test needs it: pip may take longer than a test may."""
    with contextlib.suppress(pytest.skip.Exception):
        moto_environment()


def moto_environment() -> Path:
    """The virtual environment with moto; several that ask at the same time wait for the one that builds it.

    Skips the test, loudly, where pip can't install it.
    """
    environment = CHECKOUT / f".build/moto-{sys.version_info.major}.{sys.version_info.minor}"
    wanted = f"{REQUIREMENTS.read_text()}{sys.version} {environment}"
    stamp = environment / ".built"
    environment.parent.mkdir(exist_ok=True)
    with open(environment.parent / "moto.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == wanted):
            venv.create(environment, clear=True, with_pip=True, symlinks=True)
            command = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "--no-cache-dir"]
            command += ["--disable-pip-version-check", "--root-user-action=ignore", "-r", str(REQUIREMENTS)]
            built = subprocess.run(command, capture_output=True, text=True, timeout=600)
            if built.returncode != 0:
                pytest.skip(
                    f"moto (PyPI: moto[server]) could not be installed into {environment}: {built.stderr[-400:]}"
                )
            stamp.write_text(wanted)
    return environment
