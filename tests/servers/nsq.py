"""A real nsqd and a real nsqlookupd on free ports of this machine, in a directory of their own."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers.spawned import free_port, stop_process

__all__ = ["NsqLookupd", "Nsqd", "binary", "build"]

_CHECKOUT = Path(__file__).parents[2]
_START = 60.0


def binary(name: str) -> str:
    """The path of ``nsqd`` or ``nsqlookupd``: from PATH, Go's bin directory, or built into ``.build/bin``.

    Skips the test where it can't be had, and says what to install.
    """
    path, missing = _had(name)
    if missing:
        pytest.skip(missing)
    return path


def build() -> None:
    """Both, before a test needs them: Go takes longer than a test may."""
    for name in ("nsqd", "nsqlookupd"):
        _had(name)


@functools.cache
def _had(name: str) -> tuple[str, str]:
    """The path, and why there is none; tried once."""
    go = shutil.which("go")
    places = [_CHECKOUT / ".build" / "bin"]
    if go is not None:
        found = subprocess.run([go, "env", "GOPATH"], capture_output=True, text=True, timeout=30, check=False)
        places.append(Path(found.stdout.strip() or Path.home() / "go") / "bin")
    path = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, places)))
    if path is not None:
        return path, ""
    if go is None:
        return "", f"{name} is not installed: put nsqd and nsqlookupd on PATH, or install Go, which builds them"
    places[0].mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        [go, "build", "-o", str(places[0] / name), f"github.com/nsqio/nsq/apps/{name}"],
        cwd=Path(__file__).parent / "nsqd",  # the module that names the version: nsq's own can't be installed by itself
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if built.returncode:
        return "", f"{name} is not installed, and Go could not build it: {built.stderr.strip()[-400:]}"
    return str(places[0] / name), ""


class _Process:
    """A server that can be killed and started again on the same ports and the same data."""

    name: str

    def __init__(self, directory: Path) -> None:
        self.host = "127.0.0.1"
        self.tcp = self.http = free_port()
        while self.http == self.tcp:
            self.http = free_port()
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` of its TCP protocol."""
        return f"{self.host}:{self.tcp}"

    @property
    def http_address(self) -> str:
        return f"{self.host}:{self.http}"

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Answers when it does."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # So that it ends also when the tests themselves are killed. Linux means the thread that started it.
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        if threading.current_thread() is not threading.main_thread():
            guard = []
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, binary(self.name), *self.arguments()], cwd=self.directory, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.http_address}/ping", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    text = (self.directory / f"{self.name}.log").read_text(errors="replace")
                    raise RuntimeError(f"{self.name} did not start:\n{text[-2000:]}") from None
            time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGCONT)
                self._process.send_signal(how)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        """SIGTERM: an orderly end, which keeps what is stored."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        assert self._process is not None
        stop_process(self._process.pid)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()


class NsqLookupd(_Process):
    name = "nsqlookupd"

    def arguments(self) -> list[str]:
        return [
            f"--tcp-address={self.address}",
            f"--http-address={self.http_address}",
            f"--broadcast-address={self.host}",
        ]


class Nsqd(_Process):
    """Args:
    directory: its data; made when it is not there.
    lookupd: where it registers.
    options: further ones, as ``--max-msg-size=1000``.
    """

    name = "nsqd"

    def __init__(self, directory: Path, *, lookupd: Sequence[NsqLookupd] = (), options: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self.lookupd, self.options = lookupd, options

    def arguments(self) -> list[str]:
        return [
            f"--tcp-address={self.address}",
            f"--http-address={self.http_address}",
            f"--broadcast-address={self.host}",
            f"--data-path={self.directory}",
            *(f"--lookupd-tcp-address={each.address}" for each in self.lookupd),
            *self.options,
        ]
