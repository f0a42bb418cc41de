"""What a running server says about itself: health, metrics, status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.load import Load
from tests.processes.served import SECONDS, Served, get, wait_until

pytestmark = pytest.mark.process

CHECKED = """
from pathlib import Path
from fastlane import App

app = App()

@app.get("/")
async def index() -> str:
    return "hi"

@app.readiness
def database() -> bool:
    return Path("up").exists()
"""


def health_port(served: Served) -> int:
    return int(served.wait_for(r"health and metrics on http://127\.0\.0\.1:(\d+)")[1])


def ask(port: int, path: str, request: bytes = b"") -> tuple[int, str]:
    """The status and the body of a request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(request or f"GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode()


def samples(port: int) -> dict[str, float]:
    lines = [line for line in ask(port, "/metrics")[1].splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def total(found: dict[str, float], name: str) -> float:
    return sum(value for key, value in found.items() if key.partition("{")[0] == name)


def status(served: Served, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastlane", "status", "--control-socket", "control", *options]
    return subprocess.run(command, cwd=served.directory, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_every_request_is_counted_across_a_reload_and_a_crash(serve):
    served = serve("--workers", "2", "--health-port", "0", "--metrics").ready()
    port = health_port(served)
    with Load(served.port) as load:
        load.more(200)
        served.signal(signal.SIGHUP)
        served.wait_for("generation 2 serves")
        load.more(200)
    assert load.lost == []
    answered = load.answers.total()
    found = wait_until(
        lambda: total(samples(port), "fastlane_requests_total") == answered and samples(port), what="the total"
    )
    assert found["fastlane_request_duration_seconds_count"] == answered
    assert found["fastlane_ready"] == 1
    assert 10e6 < found['fastlane_worker_resident_memory_bytes{worker="0"}'] < 500e6
    with pytest.raises(ConnectionError):
        served.get("/exit")
    wait_until(lambda: total(samples(port), "fastlane_worker_restarts_total") == 1, what="the restart")
    assert total(samples(port), "fastlane_requests_total") >= answered


def test_the_server_is_alive_and_not_ready_during_the_drain_delay_and_still_answers(serve):
    served = serve("--health-port", "0", "--ready-path", "/readyz", "--drain-delay", "4").ready()
    port = health_port(served)
    assert [ask(port, path) for path in ("/healthz", "/readyz")] == [(200, "alive\n"), (200, "ready\n")]
    assert ask(served.port, "/readyz") == (200, "ready\n")
    with served.connect() as connection:
        get(connection)
        served.signal(signal.SIGTERM)
        wait_until(lambda: ask(port, "/readyz")[0] == 503, what="not ready")
        assert ask(port, "/healthz")[0] == 200
        wait_until(lambda: ask(served.port, "/readyz")[0] == 503, what="not ready")
        connection.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        with connection.makefile("rb") as answer:
            assert b"connection: close\r\n" in answer.read()
    assert served.wait() == 0


def test_the_checks_of_the_app_decide_on_both_ports(serve):
    served = serve("--health-port", "0", "--ready-path", "/ready", app=CHECKED).ready()
    port = health_port(served)
    assert ask(served.port, "/ready") == (503, "not ready: database\n")
    assert ask(port, "/readyz") == (503, "not ready: the application's checks fail\n")
    assert ask(served.port, "/") == (200, "hi")
    (served.directory / "up").touch()
    wait_until(lambda: ask(served.port, "/ready") == (200, "ready\n"), what="the check")
    wait_until(lambda: ask(port, "/readyz") == (200, "ready\n"), what="the watch")
    assert served.text.count("not ready: the check database says no") == 1


def test_clients_that_say_nothing_keep_neither_probes_nor_the_supervisor(serve):
    served = serve("--health-port", "0").ready()
    port = health_port(served)
    silent = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in range(100)]
    try:
        assert ask(port, "/healthz") == (200, "alive\n")
        assert ask(port, "", b"POST /healthz HTTP/1.1\r\n\r\n")[0] == 405
        [before] = served.workers()
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: [pid for pid in served.workers() if pid != before], what="another worker")
        wait_until(lambda: ask(port, "/readyz")[0] == 200, what="ready")
    finally:
        for connection in silent:
            connection.close()


def test_status_shows_the_workers_of_a_running_server(serve):
    served = serve("--workers", "2", "--control-socket", "control").ready()
    assert (served.directory / "control").stat().st_mode & 0o777 == 0o600
    table = status(served)
    assert (table.returncode, table.stderr) == (0, "")
    assert "service:app: ready" in table.stdout
    found = json.loads(status(served, "--json").stdout)
    assert sorted(row["pid"] for row in found["workers"]) == sorted(served.workers())
    assert {row["state"] for row in found["workers"]} == {"ready"}
    assert served.stop() == 0
    assert not (served.directory / "control").exists()
    assert status(served).returncode == 3


def test_a_new_supervisor_answers_when_the_old_one_is_gone(serve):
    served = serve("--health-port", "0", "--control-socket", "control", "--pid-file", "pid").ready()
    before = json.loads(status(served, "--json").stdout)["workers"][0]["pid"]
    served.signal(signal.SIGUSR2)
    wait_until(lambda: served.text.count("ready, 1 worker") == 2, what="the new supervisor")
    heir = int(re.findall(r"a new supervisor \(pid (\d+)\)", served.text)[0])
    try:
        assert served.stop() == 0

        def answers() -> int:
            asked = status(served, "--json")
            return 0 if asked.returncode else json.loads(asked.stdout)["workers"][0]["pid"]

        assert wait_until(answers, what="the new control socket") != before
    finally:
        os.kill(heir, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{heir}").exists() or is_zombie(heir), what="its end")


def test_a_control_socket_that_another_server_has_still_is_taken_over_when_that_has_ended(serve, tmp_path):
    path = str(tmp_path / "c")
    with socket.socket(socket.AF_UNIX) as draining:
        draining.bind(path)
        draining.listen()
        served = serve("--control-socket", path).ready()
        assert "there is no control socket" in served.text
    wait_until(lambda: status(served, "--control-socket", path).returncode == 0, what="the control socket")


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
