from __future__ import annotations

import os
import socket

import pytest

from fastlane.supervisor.systemd import Notifier


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path):
    """A socket that listens like systemd, and its name."""
    path = str(tmp_path / "notify") if request.param == "file" else f"@fastlane-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path.replace("@", "\0", 1) if path.startswith("@") else path)
        receiver.setblocking(False)
        yield receiver, path


def test_assignments_are_sent_together(systemd):
    receiver, path = systemd
    assert Notifier({"NOTIFY_SOCKET": path}, 1).tell("READY=1", "STATUS=fine")
    assert receiver.recv(1000) == b"READY=1\nSTATUS=fine"


def test_without_systemd_nothing_is_sent():
    assert not Notifier({}, 1).tell("READY=1")
    assert not Notifier({"NOTIFY_SOCKET": "/no/such/socket"}, 1).tell("READY=1")


def test_the_watchdog_hears_twice_in_its_time(systemd):
    receiver, path = systemd
    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, 7)
    assert notifier.watchdog_seconds == 5.0
    for now in (100.0, 104.9, 105.0):
        notifier.keep_alive(now)
    assert receiver.recv(1000) == receiver.recv(1000) == b"WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        receiver.recv(1000)


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "5"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "8"}])
def test_a_watchdog_of_somebody_else_is_left_alone(environment):
    notifier = Notifier(environment, 7)
    assert notifier.watchdog_seconds == float("inf")
    notifier.keep_alive(1.0)
