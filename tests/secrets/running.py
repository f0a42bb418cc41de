"""``fastlane`` in processes of its own, and all that it writes."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["SECONDS", "Run"]

SECONDS = 60.0


class Run:
    """``fastlane`` in a directory of its own; all that it writes is in one file."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self._written = directory / "written"
        variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        with self._written.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fastlane", *arguments],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
                start_new_session=True,
            )
        self.answers = ""

    @property
    def text(self) -> str:
        return self._written.read_text(errors="replace") + self.answers

    def wait_for(self, pattern: str) -> re.Match[str]:
        end = time.monotonic() + SECONDS
        while not (match := re.search(pattern, self.text)):
            assert time.monotonic() < end, f"{pattern!r} is not in:\n{self.text}"
            assert self.process.poll() is None, self.text
            time.sleep(0.02)
        return match

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> None:
        port = int(self.wait_for(r"http://127\.0\.0\.1:(\d+)")[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        headers = {"content-type": "application/json"} if body is not None else {}
        try:
            connection.request(method, f"/{path}", body, headers)
            response = connection.getresponse()
            self.answers += f"{response.status} {response.getheaders()} {response.read()!r}\n"
        except (http.client.HTTPException, ConnectionError) as error:  # a stream that broke off
            self.answers += f"{error!r}\n"
        finally:
            connection.close()

    def stop(self) -> int:
        os.killpg(self.process.pid, signal.SIGTERM) if self.process.poll() is None else None
        return self.process.wait(SECONDS)

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
