"""A mounted secret that is swapped reaches every worker, and nothing is started again."""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path

import pytest

from .running import SECONDS, Run

pytestmark = pytest.mark.process

APP = """
import os
from fastlane import App
from fastlane.secrets import Secret

app, key = App(), Secret("MAIL_KEY")

@app.get("/")
async def in_force() -> str:
    return f"{os.getpid()} {key.get()}"
"""


def answers(port: int, wanted: str) -> set[str]:
    """The workers that answer with ``wanted``, as soon as two have."""
    seen: set[str] = set()
    end = time.monotonic() + SECONDS
    while len(seen) < 2:
        assert time.monotonic() < end, f"only {seen} have {wanted}"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("GET", "/")
        worker, _, value = connection.getresponse().read().decode().partition(" ")
        connection.close()
        if value == wanted:
            seen.add(worker)
    return seen


def test_a_swapped_file_reaches_every_worker_without_a_restart(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    for version in ("v1", "v2"):
        (mounted / version).mkdir(parents=True)
        (mounted / version / "MAIL_KEY").write_text(f"the key of {version}\n")
    (mounted / "..data").symlink_to("v1")
    (mounted / "MAIL_KEY").symlink_to("..data/MAIL_KEY")
    (tmp_path / "service.py").write_text(APP)
    (tmp_path / "fastlane.toml").write_text("[secrets]\nprovider = 'files'\npath = 'mounted'\nrefresh = 0.2\n")
    served = Run(tmp_path, "serve", "service:app", "--port", "0", "--workers", "2")
    try:
        port = int(served.wait_for(r"http://127\.0\.0\.1:(\d+)")[1])
        served.wait_for("ready, 2 workers")
        before = answers(port, "the key of v1")
        (mounted / "..new").symlink_to("v2")
        os.replace(mounted / "..new", mounted / "..data")
        assert answers(port, "the key of v2") == before
        served.wait_for("the secret MAIL_KEY has a new value")
        assert "the key of" not in served.text
        assert served.stop() == 0
    finally:
        served.end()
