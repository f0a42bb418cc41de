from __future__ import annotations

import logging
import os
import socket

import pytest

from fastlane.supervisor import Address, Settings, run
from fastlane.supervisor import main as module

# Threads that other tests have left, or that are just ending, are nothing to this: Python warns of a fork beside them.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def load(options):
    raise RuntimeError("no config")


def settings(**options) -> Settings:
    values = {"load": f"{__name__}:load", "run": f"{__name__}:load", "addresses": (Address(host="127.0.0.1"),)}
    return Settings(**{**values, **options})


def test_a_failed_import_ends_with_4(caplog):
    caplog.set_level(logging.INFO, "fastlane.supervisor")
    assert run(settings(name="a:app")) == 4
    assert "starting a:app on http://127.0.0.1:" in caplog.text
    assert "RuntimeError: no config" in caplog.text


def test_a_port_in_use_ends_with_3(caplog):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run(settings(addresses=(Address(host="127.0.0.1", port=other.getsockname()[1]),))) == 3
    assert "in use" in caplog.text


def test_an_unknown_user_ends_with_2(caplog):
    assert run(settings(user="nobody-at-all")) == 2
    assert "no such user" in caplog.text


@pytest.mark.parametrize("has", [False, True])
def test_a_controlling_terminal_is_looked_for(monkeypatch, has):
    def open_terminal(path, flags):
        assert path == "/dev/tty"
        if not has:
            raise OSError
        return os.dup(0)

    monkeypatch.setattr(os, "open", open_terminal)
    assert module._has_terminal() is has


def test_a_pid_file_that_can_not_be_written_ends_with_3(caplog, tmp_path):
    assert run(settings(pid_file=str(tmp_path / "none" / "pid"))) == 3
    assert "can't be written" in caplog.text


def test_a_start_that_fails_leaves_no_pid_file(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address(host="127.0.0.1", port=other.getsockname()[1])
        assert run(settings(addresses=(address,), pid_file=str(tmp_path / "pid"))) == 3
    assert list(tmp_path.iterdir()) == []


def test_sockets_of_a_predecessor_are_taken_over(monkeypatch, tmp_path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    monkeypatch.setattr(module, "inherited_addresses", lambda _: (Address(fd=listening.detach()),))
    monkeypatch.setenv("FASTLANE_PREDECESSOR", "999999999")
    assert run(settings()) == 4
    # The predecessor is gone, so the file was this one's to remove.
    assert not (tmp_path / "s").exists()


def test_a_health_port_in_use_ends_with_3_and_leaves_nothing_open(caplog, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        health = Address(host="127.0.0.1", port=other.getsockname()[1])
        addresses = (Address(path=str(tmp_path / "s")),)
        assert run(settings(addresses=addresses, health=health)) == 3
    assert "in use" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_control_socket_that_can_not_be_made_is_said_once_and_ends_nothing(caplog, tmp_path):
    caplog.set_level(logging.INFO, "fastlane.supervisor")
    control = Address(path=str(tmp_path / "none" / "control"), permissions=0o600)
    assert run(settings(health=Address(host="127.0.0.1"), control=control)) == 4  # of the import
    assert caplog.text.count("there is no control socket: can't listen on unix:") == 1
    assert "health and metrics on http://127.0.0.1:" in caplog.text


def test_the_control_socket_is_gone_at_the_end(tmp_path):
    assert run(settings(control=Address(path=str(tmp_path / "control"), permissions=0o600))) == 4
    assert list(tmp_path.iterdir()) == []
