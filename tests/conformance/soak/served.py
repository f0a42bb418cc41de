"""``fastlane serve`` of the soak's app, with its workers in reach of SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.servers.spawned import free_port

__all__ = ["Served"]

CHECKOUT = Path(__file__).parents[3]
NUMBERED = "tests/conformance/soak/numbered.py:app"


class Served:
    """Two workers that consume. A context manager that ends them gracefully, and says so when that does not work."""

    def __init__(
        self,
        directory: Path,
        configuration: str,
        *,
        ordered: bool,
        ack_deadline: float,
        database: str | None = None,
        target: str = NUMBERED,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self._target = target
        self.log = directory / "handled.log"
        self._file = directory / "soak.toml"
        self._file.write_text(configuration)
        self._log_file = directory / "serve.log"
        self.environment = {
            **os.environ,
            "SOAK_LOG": str(self.log),
            "SOAK_ORDERED": str(int(ordered)),
            "SOAK_ACK_DEADLINE": f"{ack_deadline:g}",
            "FASTLANE_STATE": str(directory / "state"),
        }
        if database is not None:
            self.environment["SOAK_DATABASE"] = database
        self._process: subprocess.Popen[str] | None = None

    def provision(self) -> None:
        """What a user does once per broker."""
        command = ["pubsub", "provision", self._target, "--config", str(self._file)]
        subprocess.run(self._command(*command), env=self.environment, cwd=CHECKOUT, check=True, timeout=120)

    def __enter__(self) -> Served:
        serve = ["serve", self._target, "--workers", "2", "--config", str(self._file)]
        with open(self._log_file, "w") as output:
            self._process = subprocess.Popen(
                self._command(*serve, "--port", str(self.port), "--log-level", "info"),
                env=self.environment,
                cwd=CHECKOUT,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        end = time.monotonic() + 90
        try:
            while "ready, 2 workers" not in self.output:
                assert self._process.poll() is None, self.output
                assert time.monotonic() < end, self.output
                time.sleep(0.05)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def kill_worker(self) -> int:
        """SIGKILL to one of the workers; answers its process id."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        workers = [int(child) for child in children if "worker" in _title(int(child))]
        os.kill(workers[0], signal.SIGKILL)
        return workers[0]

    def handled(self) -> list[tuple[str, int]]:
        """Every line so far: key and number, in the order of handling."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines()
        return [(key, int(number)) for key, number, _ in (line.split() for line in lines)]

    @property
    def output(self) -> str:
        return self._log_file.read_text()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fastlane", *arguments]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text() + Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
