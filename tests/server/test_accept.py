from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl

import pytest
import trustme
import uvloop

from fastlane.server import accept
from fastlane.server.accept import BATCH, Acceptor, Gate
from fastlane.supervisor.listeners import Listener, open_listeners
from fastlane.supervisor.scoreboard import DRAINING, READY, Scoreboard
from fastlane.supervisor.settings import Address

SECONDS = 30
"""How long anything is waited for that happens at once where nobody else loads the machine."""


class Echo(asyncio.Protocol):
    """Notes itself while it is connected."""

    def __init__(self, connections: set) -> None:
        self.connections = connections

    def connection_made(self, transport):
        self.transport = transport
        self.connections.add(self)

    def data_received(self, data):
        self.transport.write(data)

    def connection_lost(self, error):
        self.connections.discard(self)


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def loop(request):
    loop = request.param()
    yield loop
    loop.close()


@pytest.fixture
def listener():
    [listener] = open_listeners((Address(host="127.0.0.1"),), 100)
    yield listener
    listener.close()


def board_with(*counts: int) -> Scoreboard:
    """Ready workers that hold so many connections."""
    board = Scoreboard(len(counts))
    for number, count in enumerate(counts):
        slot = board.slot(number)
        slot.beat(count, 0, 0)
        slot.state = READY
    return board


def connect(listener: Listener, count: int = 1) -> list[socket.socket]:
    clients = []
    for _ in range(count):
        clients.append(socket.create_connection(listener.socket.getsockname()))
        clients[-1].settimeout(SECONDS)
    return clients


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


# The gate


def test_without_a_scoreboard_there_is_always_room():
    gate = Gate(None)
    assert gate.room(10_000) == BATCH


def test_alone_there_is_always_room():
    gate = Gate(board_with(0).slot(0))
    assert gate.room(10_000) == BATCH


@pytest.mark.parametrize(
    ("counts", "mine", "room"),
    [((0, 0), 0, 1), ((1, 0), 1, 0), ((75, 75), 75, 5), ((81, 75), 81, 2), ((80, 60), 80, -5)],
)
def test_the_room_is_up_to_the_share_and_a_little_more(counts, mine, room):
    board = board_with(*counts)
    gate = Gate(board.slot(0))
    assert gate.room(mine) == room
    assert board.slot(0).connections == mine


def test_two_workers_that_follow_the_gate_stay_below_60_percent():
    for total in (10, 150, 1000):
        board = board_with(0, 0)
        gates = [Gate(board.slot(number)) for number in range(2)]
        counts = [0, 0]
        while sum(counts) < total:
            # The first is always the faster one.
            for number, gate in enumerate(gates):
                room = gate.room(counts[number])
                if room > 0:
                    counts[number] += min(room, total - sum(counts), 4 if number == 0 else 1)
                    break
            gates[1].room(counts[1])
        assert max(counts) <= 0.6 * total


def test_a_sibling_that_comes_up_is_seen_after_20_milliseconds():
    board = board_with(0, 0)
    board.slot(1).state = DRAINING
    now = [100.0]
    gate = Gate(board.slot(0), lambda: now[0])
    assert gate.room(50) == BATCH
    board.slot(1).state = READY
    assert gate.room(50) == BATCH
    now[0] += 0.021
    assert gate.room(50) < 0


# The acceptor


def test_connections_are_served(loop, listener):
    connections: set[Echo] = set()

    async def main():
        acceptor = Acceptor(loop, listener, lambda: Echo(connections), Gate(None), connections)
        acceptor.start()
        clients = connect(listener, 3)
        await until(lambda: len(connections) == 3)
        for client in clients:
            client.sendall(b"hello")
        await asyncio.sleep(0)
        for client in clients:
            assert await loop.run_in_executor(None, client.recv, 5) == b"hello"
        for connection in connections:
            raw = connection.transport.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for client in clients:
            client.close()
        await until(lambda: not connections)
        acceptor.stop(last=False)
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())


def test_the_loop_gets_what_it_does_not_close_a_second_time(loop, listener, monkeypatch):
    # uvloop closes a descriptor by itself, and then `close()`s what it was given, unless that is a `socket.socket`,
    # which it detaches. In between another thread may get the same number.
    given, connections = [], set()
    acceptor = Acceptor(loop, listener, lambda: Echo(connections), Gate(None), connections)
    connect_to_loop = acceptor._connect
    monkeypatch.setattr(acceptor, "_connect", lambda accepted: (given.append(accepted), connect_to_loop(accepted)))

    async def main():
        acceptor.start()
        [client] = connect(listener)
        await until(lambda: connections)
        client.close()
        await until(lambda: not connections and given[0].fileno() == -1)
        assert isinstance(given[0], socket.socket)
        acceptor.stop(last=False)

    loop.run_until_complete(main())


def test_above_its_share_a_worker_leaves_what_comes_to_the_others_unless_they_are_stuck(loop, listener, monkeypatch):
    connections: set[Echo] = set()
    pauses = []

    async def main():
        board = board_with(50, 0)
        gate = Gate(board.slot(0))
        open_ones = set(range(50))
        acceptor = Acceptor(loop, listener, lambda: Echo(connections), gate, open_ones)
        pause = acceptor._pause
        monkeypatch.setattr(acceptor, "_pause", lambda *arguments: (pauses.append(arguments[0]), pause(*arguments)))
        acceptor.start()
        clients = connect(listener, 15)
        await until(lambda: len(connections) == 15)
        assert pauses == [accept.YIELD_SECONDS] * 4  # it took 1, 2, 4 and 8
        board.slot(1).connections = 1
        clients += connect(listener, 2)
        await until(lambda: len(connections) == 17)
        assert pauses == [accept.YIELD_SECONDS] * 6  # the other one has moved: 1 again, then the rest
        for client in clients:
            client.close()
        await until(lambda: not connections)
        acceptor.stop(last=False)

    loop.run_until_complete(main())


def test_a_sibling_that_is_below_its_share_gets_the_connection(loop, listener):
    first: set[Echo] = set()
    second: set[Echo] = set()

    async def main():
        board = board_with(0, 0)
        gates = [Gate(board.slot(number)) for number in range(2)]
        other = Listener(listener.socket.dup())
        acceptors = [
            Acceptor(loop, listener, lambda: Echo(first), gates[0], first),
            Acceptor(loop, other, lambda: Echo(second), gates[1], second),
        ]
        for acceptor in acceptors:
            acceptor.start()
        clients = []
        for count in range(1, 21):
            clients += connect(listener)
            await until(lambda count=count: len(first) + len(second) == count)
        assert abs(len(first) - len(second)) <= 2
        for client in clients:
            client.close()
        await until(lambda: not first and not second)
        for acceptor in acceptors:
            acceptor.stop(last=False)

    loop.run_until_complete(main())


class Broken:
    """A listening socket whose accept fails."""

    def __init__(self, listener: Listener, *errors: OSError) -> None:
        self._socket = listener.socket
        self.family, self.proto = listener.socket.family, listener.socket.proto
        self.errors = list(errors)

    def fileno(self) -> int:
        return self._socket.fileno()

    def _accept(self):
        if self.errors:
            raise self.errors.pop(0)
        return self._socket._accept()

    def close(self) -> None:
        self._socket.close()


def test_without_descriptors_it_pauses_and_says_so(loop, listener, caplog):
    connections: set[Echo] = set()

    async def main():
        broken = Broken(listener, OSError(errno.EMFILE, "Too many open files"))
        acceptor = Acceptor(loop, Listener(broken), lambda: Echo(connections), Gate(None), connections)
        acceptor.start()
        began = loop.time()
        [client] = connect(listener)
        await until(lambda: connections)
        assert loop.time() - began >= 0.09
        client.close()
        await until(lambda: not connections)
        acceptor.stop(last=False)

    with caplog.at_level(logging.ERROR, "fastlane.server"):
        loop.run_until_complete(main())
    assert "Too many open files" in caplog.text


def test_a_client_that_went_away_while_it_waited_is_skipped(loop, listener):
    connections: set[Echo] = set()

    async def main():
        broken = Broken(listener, ConnectionAbortedError(), InterruptedError())
        acceptor = Acceptor(loop, Listener(broken), lambda: Echo(connections), Gate(None), connections)
        acceptor.start()
        [client] = connect(listener)
        await until(lambda: connections)
        client.close()
        await until(lambda: not connections)
        acceptor.stop(last=False)

    loop.run_until_complete(main())


def test_any_other_error_is_not_swallowed(loop, listener):
    broken = Broken(listener, OSError(errno.EBADF, "Bad file descriptor"))
    acceptor = Acceptor(loop, Listener(broken), lambda: Echo(set()), Gate(None), set())
    with pytest.raises(OSError, match="Bad file descriptor"):
        acceptor._take(1)


def test_the_last_worker_accepts_what_waits_before_it_closes(loop, listener):
    connections: set[Echo] = set()

    async def main():
        acceptor = Acceptor(loop, listener, lambda: Echo(connections), Gate(None), connections)
        clients = connect(listener, 40)
        acceptor.stop(last=True)
        await until(lambda: len(connections) == 40)
        for client in clients:
            client.sendall(b"x")
            assert await loop.run_in_executor(None, client.recv, 1) == b"x"
            client.close()
        await until(lambda: not connections)
        with pytest.raises(OSError, match="Bad file descriptor"):
            listener.socket.getsockname()
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())


def test_who_is_not_the_last_leaves_the_queue_to_the_others(loop, listener):
    connections: set[Echo] = set()

    async def main():
        other = listener.socket.dup()
        acceptor = Acceptor(loop, listener, lambda: Echo(connections), Gate(None), connections)
        acceptor.start()
        acceptor._pause(10.0, acceptor.start)
        acceptor.stop(last=False)
        client = socket.create_connection(other.getsockname())
        accepted, _ = other.accept()
        for one in (client, accepted, other):
            one.close()

    loop.run_until_complete(main())
    assert connections == set()


@pytest.fixture(scope="module")
def contexts():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def test_a_tls_handshake_counts_as_a_connection(loop, listener, contexts):
    connections: set[Echo] = set()

    async def main():
        acceptor = Acceptor(loop, listener, lambda: Echo(connections), Gate(None), connections, contexts[0])
        acceptor.start()
        [client] = connect(listener)
        await until(lambda: len(acceptor.handshakes) == 1)
        assert connections == set()
        secured = await loop.run_in_executor(None, lambda: contexts[1].wrap_socket(client, server_hostname="127.0.0.1"))
        await until(lambda: len(connections) == 1 and not acceptor.handshakes)
        secured.close()
        await until(lambda: not connections)
        acceptor.stop(last=False)
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())


def test_a_failed_tls_handshake_ends_only_itself(loop, listener, contexts, caplog):
    async def main():
        acceptor = Acceptor(loop, listener, lambda: Echo(set()), Gate(None), set(), contexts[0])
        acceptor.start()
        [client] = connect(listener)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: "TLS handshake failed" in caplog.text)
        client.close()
        assert acceptor.handshakes == set() or await asyncio.wait(acceptor.handshakes)
        acceptor.stop(last=False)

    with caplog.at_level(logging.DEBUG, "fastlane.server"):
        loop.run_until_complete(main())


def test_a_connection_that_can_not_be_opened_is_closed(listener):
    class Loop:
        def connect_accepted_socket(self, make_protocol, accepted):
            async def fail():
                raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

            return fail()

    acceptor = Acceptor(Loop(), listener, lambda: Echo(set()), Gate(None), set())
    [client] = connect(listener)
    accepted, _ = listener.socket.accept()
    acceptor._connect(accepted)
    assert client.recv(1) == b""
    client.close()
    assert accepted.fileno() == -1


def test_a_connection_that_opens_at_once_needs_nothing_more(listener):
    class Loop:
        def connect_accepted_socket(self, make_protocol, accepted):
            async def open_at_once():
                accepted.close()

            return open_at_once()

    acceptor = Acceptor(Loop(), listener, lambda: Echo(set()), Gate(None), set())
    [client] = connect(listener)
    accepted, _ = listener.socket.accept()
    acceptor._connect(accepted)
    assert client.recv(1) == b""
    client.close()


# The second gear


async def come_and_go(acceptor: Acceptor, listener: Listener, count: int) -> None:
    """Connections that are opened, answered and closed one after the other."""
    loop = asyncio.get_running_loop()
    connections = acceptor._connections

    def talk() -> None:
        with socket.create_connection(listener.socket.getsockname(), SECONDS) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"

    for _ in range(count):
        await loop.run_in_executor(None, talk)
        await until(lambda: not connections)


@pytest.fixture
def fast():
    loop = uvloop.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def shifting(loop, listener: Listener, gate: Gate | None = None) -> Acceptor:
    """An acceptor with two gears, in the first."""
    connections: set[Echo] = set()
    acceptor = Acceptor(loop, listener, lambda: Echo(connections), gate or Gate(None), connections, None, 100)
    acceptor.start()
    return acceptor


def test_after_64_connections_that_came_and_went_uvloop_accepts(fast, listener, monkeypatch):
    async def main():
        acceptor = shifting(fast, listener, Gate(board_with(0).slot(0)))
        monkeypatch.setattr(accept, "PACE_SECONDS", 60.0)
        await come_and_go(acceptor, listener, accept.UNGATED - 1)
        assert acceptor._server is None
        await come_and_go(acceptor, listener, 2)
        assert acceptor._server is not None
        assert acceptor._taken == 1
        await come_and_go(acceptor, listener, 2 * accept.ASKED)
        acceptor.stop(last=True)
        assert acceptor._server is None
        await asyncio.sleep(0)

    fast.run_until_complete(main())


def test_connections_that_stay_keep_the_first_gear(fast, listener):
    async def main():
        acceptor = shifting(fast, listener)
        clients = connect(listener, 80)
        await until(lambda: len(acceptor._connections) == 80)
        assert acceptor._server is None
        acceptor.stop(last=False)
        for client in clients:
            client.close()
        await until(lambda: not acceptor._connections)

    fast.run_until_complete(main())


@pytest.mark.parametrize("reason", ["share", "crowd", "descriptors"])
def test_a_worker_above_its_share_or_short_of_descriptors_shifts_down(fast, listener, monkeypatch, reason):
    monkeypatch.setattr(accept, "UNGATED", 4)
    monkeypatch.setattr(accept, "PACE_SECONDS", 60.0)
    monkeypatch.setattr(accept, "LOW_SECONDS", 60.0 if reason == "crowd" else 0.0)

    async def main():
        acceptor = shifting(fast, listener, Gate(None if reason == "descriptors" else board_with(0, 0).slot(0)))
        await come_and_go(acceptor, listener, 4)
        assert acceptor._server is not None
        if reason == "descriptors":
            acceptor._most = 10
        count = (6 if reason == "crowd" else 3) * accept.ASKED
        clients = connect(listener, count)
        await until(lambda: len(acceptor._connections) == count)
        assert acceptor._server is None
        for client in clients:
            client.close()
        await until(lambda: not acceptor._connections)
        await come_and_go(acceptor, listener, 1)
        acceptor.stop(last=False)

    fast.run_until_complete(main())


def test_with_few_connections_it_shifts_down(fast, listener, monkeypatch):
    monkeypatch.setattr(accept, "UNGATED", 4)
    monkeypatch.setattr(accept, "PACE_SECONDS", 60.0)

    async def main():
        acceptor = shifting(fast, listener)
        await come_and_go(acceptor, listener, 4)
        assert acceptor._server is not None
        acceptor._timer.cancel()
        monkeypatch.setattr(accept, "PACE_SECONDS", 0.02)
        acceptor._check_pace(accept.ASKED)
        assert acceptor._server is not None
        await until(lambda: acceptor._server is None)
        await come_and_go(acceptor, listener, 1)
        acceptor.stop(last=False)

    fast.run_until_complete(main())


def test_a_stop_that_comes_before_the_shift_down_is_a_stop(fast, listener, monkeypatch):
    monkeypatch.setattr(accept, "UNGATED", 4)

    async def main():
        acceptor = shifting(fast, listener)
        await come_and_go(acceptor, listener, 4)
        acceptor._down = fast.call_soon(acceptor._shift_down)
        acceptor.stop(last=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert acceptor._server is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, SECONDS)

    address = listener.socket.getsockname()
    fast.run_until_complete(main())


def test_only_uvloop_shifts_and_only_for_tcp_sockets_of_ours(loop, listener, contexts, tmp_path):
    [local] = open_listeners((Address(path=str(tmp_path / "s")),), 10)

    def is_shiftable(where: Listener, context=None, backlog: int | None = 10) -> bool:
        return Acceptor(loop, where, lambda: Echo(set()), Gate(None), set(), context, backlog)._is_shiftable

    assert is_shiftable(listener) is isinstance(loop, uvloop.Loop)
    assert not is_shiftable(listener, backlog=None)
    assert not is_shiftable(listener, contexts[0])
    assert not is_shiftable(local)
    local.close()
