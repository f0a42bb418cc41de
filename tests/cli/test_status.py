"""``fastlane status``: the workers of a running server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Fastlane, Write

WORKER = {
    "worker": 0,
    "pid": 4711,
    "generation": 2,
    "state": "ready",
    "age": 90061.5,
    "connections": 3,
    "in_flight": 1,
    "requests": 42,
    "rss": 3 * 2**19,
    "restarts": 5,
}


class Supervisor:
    """Answers once on a Unix socket, with what the test says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = 200
        self.body = json.dumps({"name": "a:app", "ready": True, "reason": "", "workers": [WORKER]})
        self.request = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(4096)
            head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(self.body)}\r\nconnection: close\r\n\r\n"
            connection.sendall((head + self.body).encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, if nobody came
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._listener.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    found = Supervisor(tmp_path / "control")
    yield found
    found.close()


def test_one_table_of_workers(fastlane: Fastlane, supervisor: Supervisor):
    outcome = fastlane("status", "--control-socket", str(supervisor.path))
    assert outcome.code == 0
    title, _, heads, row = outcome.out.splitlines()
    assert title == "a:app: ready"
    assert " ".join(heads.split()) == "worker pid state age connections in flight requests rss restarts generation"
    assert " ".join(row.split()) == "0 4711 ready 1d 1h 3 1 42 1.5 MiB 5 2"
    assert len(row) == len(heads)
    assert supervisor.request.startswith(b"GET /status HTTP/1.1\r\n")


@pytest.mark.parametrize(("age", "text"), [(0.4, "0s"), (59.9, "59s"), (61, "1m 1s"), (7260, "2h 1m")])
def test_an_age_has_two_units(fastlane: Fastlane, supervisor: Supervisor, age: float, text: str):
    supervisor.body = json.dumps({"name": "a", "ready": True, "reason": "", "workers": [{**WORKER, "age": age}]})
    assert f"  {text}  " in fastlane("status", "--control-socket", str(supervisor.path)).out


def test_json_is_what_the_supervisor_says(fastlane: Fastlane, supervisor: Supervisor):
    outcome = fastlane("status", "--json", "--control-socket", str(supervisor.path))
    assert json.loads(outcome.out) == json.loads(supervisor.body)


def test_a_server_that_is_not_ready_is_exit_code_1(fastlane: Fastlane, supervisor: Supervisor):
    supervisor.body = json.dumps({"name": "a:app", "ready": False, "reason": "stopping", "workers": []})
    outcome = fastlane("status", "--control-socket", str(supervisor.path))
    assert outcome.code == 1
    assert outcome.out.startswith("a:app: not ready: stopping\n")


def test_the_socket_is_found_as_serve_finds_it(
    fastlane: Fastlane, write: Write, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
):
    write("fastlane.toml", '[serve]\ncontrol_socket = "nobody"\n')
    monkeypatch.setenv("FASTLANE_CONTROL_SOCKET", str(supervisor.path))
    assert fastlane("status").code == 0


def test_the_file_names_it(fastlane: Fastlane, write: Write, supervisor: Supervisor):
    write("fastlane.toml", f'[serve]\ncontrol_socket = "{supervisor.path}"\n')
    assert fastlane("status").code == 0


def test_nobody_listens(fastlane: Fastlane, tmp_path: Path):
    outcome = fastlane("status", "--control-socket", str(tmp_path / "none"))
    assert outcome.code == 3
    assert f"nobody answers on the control socket {tmp_path / 'none'}: No such file or directory" in outcome.err


def test_somebody_else_listens(fastlane: Fastlane, supervisor: Supervisor):
    supervisor.status = 404
    outcome = fastlane("status", "--control-socket", str(supervisor.path))
    assert outcome.code == 3
    assert "it is no control socket: it answers 404" in outcome.err


def test_there_is_none_by_default(fastlane: Fastlane):
    outcome = fastlane("status")
    assert outcome.code == 2
    assert "give --control-socket PATH" in outcome.err


def test_a_path_that_is_none_is_refused(fastlane: Fastlane, write: Write):
    write("fastlane.toml", "[serve]\ncontrol_socket = 3\n")
    outcome = fastlane("status")
    assert outcome.code == 2
    assert "fastlane.toml: serve.control_socket: expected a text that is not empty, got 3" in outcome.err
