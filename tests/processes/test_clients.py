"""Clients that a server must bear, or be fair to: slow ones, idle ones, long ones, and those behind TLS."""

from __future__ import annotations

import resource
import signal
import socket
import ssl
import time
from contextlib import ExitStack

import pytest
import trustme
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.processes.load import Load
from tests.processes.served import SECONDS, get, wait_until

pytestmark = pytest.mark.process

LONG = """
import asyncio, os
from fastlane import App, BackgroundTasks, WebSocket, WebSocketDisconnect

app = App()

@app.get("/")
async def index() -> str:
    return f"one {os.getpid()}"

@app.websocket("/socket")
async def talk(socket: WebSocket) -> None:
    await socket.accept()
    try:
        await socket.receive_text()
    except WebSocketDisconnect as error:
        await asyncio.sleep(TAKES)
        open("socket", "w").write(str(error.code))

async def work() -> None:
    await asyncio.sleep(TAKES)
    open("work", "w").write("done")

@app.post("/work")
async def order(background: BackgroundTasks) -> None:
    background.add(work)
"""


@pytest.fixture
def clients():
    """Connections that are closed at the end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def descriptors():
    """As many as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_5000_idle_connections_delay_neither_a_reload_nor_the_end(serve, descriptors, clients):
    served = serve("--workers", "2", "--graceful-timeout", "60").ready()
    connections = [clients.enter_context(served.connect()) for _ in range(min(5000, descriptors - 500))]
    for connection in connections[::50]:
        get(connection)
    with Load(served.port) as load:
        served.signal(signal.SIGHUP)
        served.wait_for("generation 2 serves")
        load.more(100)
    assert load.lost == []
    assert load.slowest < 3.0
    began = time.monotonic()
    assert served.stop() == 0
    assert time.monotonic() - began < 20.0


def test_200_slow_clients_are_cut_off_and_slow_nobody(serve, clients):
    served = serve("--workers", "2", "--header-timeout", "3s").ready()
    slow = [clients.enter_context(served.connect()) for _ in range(200)]
    for connection in slow:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n")
        connection.setblocking(False)
    is_open = set(slow)

    def are_closed() -> bool:
        for connection in list(is_open):
            try:
                connection.send(b"x-more: of it\r\n")
                if connection.recv(1000) == b"":
                    is_open.discard(connection)
            except BlockingIOError:
                continue
            except OSError:
                is_open.discard(connection)
        return not is_open

    with Load(served.port) as load:
        wait_until(are_closed, what="200 closed connections")
        load.more(20)
    assert load.lost == []
    assert load.slowest < 2.5


@pytest.mark.parametrize(("takes", "is_finished"), [("0.5", True), ("3600", False)])
def test_websockets_and_background_tasks_have_the_graceful_timeout(serve, tmp_path, takes, is_finished):
    served = serve("--graceful-timeout", "4s", app=LONG.replace("TAKES", takes)).ready()
    with connect(f"ws://127.0.0.1:{served.port}/socket") as client:
        with served.connect() as connection:
            connection.sendall(b"POST /work HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            with connection.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 204 ")
        began = time.monotonic()
        served.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed, match="1012"):
            client.recv(SECONDS)
        assert served.wait() == 0
    assert time.monotonic() - began < 20.0
    assert (tmp_path / "work").exists() is is_finished
    assert (tmp_path / "socket").exists() is is_finished


def test_a_new_certificate_is_used_after_a_reload(serve, tmp_path):
    authorities = [trustme.CA(), trustme.CA()]
    pem = tmp_path / "cert.pem"

    def write(authority: trustme.CA) -> None:
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)

    def ask(authority: trustme.CA) -> str:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with (
            socket.create_connection(("127.0.0.1", port), SECONDS) as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
        ):
            return get(secured, close=True)

    write(authorities[0])
    served = serve("--certfile", str(pem), "--workers", "2").ready()
    port = int(served.wait_for(r" on https://127\.0\.0\.1:(\d+)")[1])
    assert ask(authorities[0]).startswith("one ")
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(authorities[1])
    pem.write_text("no certificate")
    served.signal(signal.SIGHUP)
    served.wait_for("the old one keeps serving: the TLS certificate or key can't be used")
    assert ask(authorities[0]).startswith("one ")
    write(authorities[1])
    old = set(served.workers())
    served.signal(signal.SIGHUP)
    served.wait_for("generation 3 serves")
    wait_until(lambda: not old & set(served.workers()), what="the end of the old workers")
    assert ask(authorities[1]).startswith("one ")
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(authorities[0])
    assert served.stop() == 0
