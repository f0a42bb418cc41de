from __future__ import annotations

import socket
import sys

import pytest

from fastlane.server.refusal import refuse_connections


class Recorded:
    """A socket that notes what is asked of it, and has no filters if so told."""

    def __init__(self, family: int, has_filters: bool = True) -> None:
        self.family = family
        self.has_filters = has_filters
        self.asked: list[tuple] = []

    def setsockopt(self, *arguments) -> None:
        self.asked.append(("setsockopt", *arguments[:2]))
        if not self.has_filters:
            raise OSError

    def shutdown(self, how: int) -> None:
        self.asked.append(("shutdown", how))

    def listen(self, backlog: int) -> None:
        self.asked.append(("listen", backlog))


@pytest.mark.skipif(sys.platform != "linux", reason="filters for sockets are Linux's")
def test_who_waits_is_accepted_and_who_comes_is_not():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        address = listening.getsockname()
        with socket.create_connection(address, 5) as before, socket.socket() as after:
            refuse_connections(listening)
            after.settimeout(0.2)
            with pytest.raises(TimeoutError):
                after.connect(address)
            accepted, peer = listening.accept()
            assert peer == before.getsockname()
            accepted.sendall(b"x")
            assert before.recv(1) == b"x"
            accepted.close()
            listening.setblocking(False)
            with pytest.raises(BlockingIOError):
                listening.accept()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the queue is emptied")
def test_a_unix_socket_refuses_at_once(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with socket.socket(socket.AF_UNIX) as before, socket.socket(socket.AF_UNIX) as after:
            before.connect(path)
            refuse_connections(listening)
            with pytest.raises(ConnectionRefusedError):
                after.connect(path)
            accepted, _ = listening.accept()
            accepted.close()


@pytest.mark.parametrize(("platform", "has_filters"), [("linux", False), ("darwin", True)])
def test_without_filters_the_queue_is_made_as_short_as_it_can_be(monkeypatch, platform, has_filters):
    monkeypatch.setattr(sys, "platform", platform)
    recorded = Recorded(socket.AF_INET, has_filters)
    refuse_connections(recorded)
    assert recorded.asked[-1] == ("listen", 0)


def test_a_unix_socket_is_not_shut_down_elsewhere(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    recorded = Recorded(socket.AF_UNIX)
    refuse_connections(recorded)
    assert recorded.asked == [("listen", 0)]
