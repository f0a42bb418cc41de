from __future__ import annotations

import errno
import select
import socket

import pytest

from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.responder import CONNECTIONS, HEAD_SIZE, SECONDS, Answer, Responder
from fastlane.supervisor.settings import Address

LOCAL = Address(host="127.0.0.1")


class Desk:
    """A responder with a clock of its own, and its clients."""

    def __init__(self, *addresses: Address) -> None:
        self.clock = 100.0
        self.poll = select.poll()
        self.responder = Responder(lambda: self.clock)
        self.responder.open(addresses or (LOCAL,))
        self.responder.begin(self.poll)
        self.clients: list[socket.socket] = []

    def connect(self, data: bytes = b"") -> socket.socket:
        listener = self.responder.listeners[0].socket
        client = socket.socket(listener.family)
        client.settimeout(5)
        client.connect(listener.getsockname())
        client.sendall(data)
        self.clients.append(client)
        return client

    def turn(self):
        """What the supervisor's loop does: wait, then attend."""
        assert self.poll.poll(5000)
        return self.responder.attend()

    def ask(self, data: bytes):
        client = self.connect(data)
        asked = []
        while not asked:
            asked = self.turn()
        return client, asked[0]

    def refused(self, data: bytes) -> bytes:
        client = self.connect(data)
        client.setblocking(False)
        while True:
            assert self.turn() == []
            try:
                return client.recv(65536)
            except BlockingIOError:
                continue

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.responder.end()


@pytest.fixture
def desk():
    desk = Desk()
    yield desk
    desk.close()


def everything(client: socket.socket) -> bytes:
    with client.makefile("rb") as answer:
        return answer.read()


def test_a_question_is_answered_and_the_connection_closed(desk):
    client, asked = desk.ask(b"GET /readyz?verbose HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (asked.path, asked.is_local) == ("/readyz", False)
    asked.reply(Answer(503, "not ready\n"))
    head, _, body = everything(client).partition(b"\r\n\r\n")
    assert body == b"not ready\n"
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 503 Service Unavailable",
        b"content-type: text/plain; charset=utf-8",
        b"content-length: 10",
        b"cache-control: no-store",
        b"connection: close",
    ]


def test_a_head_may_come_in_pieces(desk):
    client = desk.connect(b"GET /healthz HT")
    assert desk.turn() == []
    client.sendall(b"TP/1.0\r\n\r\n")
    asked = desk.turn()
    assert [one.path for one in asked] == ["/healthz"]


def test_only_get(desk):
    answer = desk.refused(b"POST /healthz HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"allow: GET\r\n" in answer


@pytest.mark.parametrize("line", [b"GET /healthz", b"GET  /healthz HTTP/1.1", b"GET / SPDY", b"\x16\x03\x01"])
def test_what_is_no_http_is_refused(desk, line):
    assert desk.refused(line + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_head_is_bounded(desk):
    assert desk.refused(b"GET /" + b"a" * HEAD_SIZE).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_says_nothing_is_dropped(desk):
    client = desk.connect()
    desk.turn()
    desk.clock += SECONDS - 0.1
    desk.responder.attend()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    desk.clock += 0.1
    desk.responder.attend()
    assert client.recv(1) == b""


def test_clients_that_hold_connections_keep_nobody_out(desk):
    idle = [desk.connect() for _ in range(CONNECTIONS + 4)]
    client, asked = desk.ask(b"GET /healthz HTTP/1.1\r\n\r\n")
    asked.reply(Answer(200, "alive\n"))
    assert everything(client).endswith(b"alive\n")
    assert idle[0].recv(1) == b""


def test_a_client_that_went_away_is_forgotten(desk):
    client, asked = desk.ask(b"GET /healthz HTTP/1.1\r\n\r\n")
    client.close()
    desk.clock += SECONDS
    desk.responder.attend()
    asked.reply(Answer(200, "alive\n"))
    desk.connect().close()
    assert desk.turn() == []


def test_a_long_answer_goes_out_as_its_reader_reads(desk):
    client, asked = desk.ask(b"GET /metrics HTTP/1.1\r\n\r\n")
    body = "a" * 20_000_000
    asked.reply(Answer(200, body))
    client.setblocking(False)
    received = bytearray()
    while True:
        try:
            piece = client.recv(1 << 20)
        except BlockingIOError:
            desk.turn()
            continue
        if not piece:
            break
        received += piece
    assert len(received.partition(b"\r\n\r\n")[2]) == len(body)


def test_a_listener_without_descriptors_waits_for_the_next_turn(desk, monkeypatch):
    def fail(self):
        raise OSError(errno.EMFILE, "none left")

    client = desk.connect(b"GET /healthz HTTP/1.1\r\n\r\n")
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", fail)
        assert desk.turn() == []
        assert desk.poll.poll(0) == []
    asked = desk.responder.attend() or desk.turn()
    asked[0].reply(Answer(200, "alive\n"))
    assert everything(client).endswith(b"alive\n")


def test_a_unix_socket_is_for_its_owner_and_goes_away(tmp_path):
    path = tmp_path / "control"
    desk = Desk(Address(path=str(path), permissions=0o600))
    assert path.stat().st_mode & 0o777 == 0o600
    client, asked = desk.ask(b"GET /status HTTP/1.1\r\n\r\n")
    assert asked.is_local
    asked.reply(Answer(200, "{}"))
    assert everything(client).endswith(b"{}")
    desk.close()
    assert not path.exists()


def test_what_another_supervisor_holds_is_opened_when_that_is_gone():
    clock = 100.0
    responder = Responder(lambda: clock)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = Address(host="127.0.0.1", port=other.getsockname()[1])
        with pytest.raises(BootFailure):
            responder.open((address,))
        responder.open_later((address,))
        responder.attend()
        assert responder.listeners == []
    responder.attend()  # too early
    assert responder.listeners == []
    clock += 1.0
    responder.attend()
    assert [one.socket.getsockname()[1] for one in responder.listeners] == [address.port]
    responder.end()
