from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace

import pytest
import trustme

from fastlane import App
from fastlane.server import server as server_module
from fastlane.server import worker
from fastlane.server.config import LaneConfig
from fastlane.server.health import HealthDoor
from fastlane.server.options import ServeOptions
from fastlane.server.readiness import Readiness
from fastlane.server.server import LaneServer
from fastlane.supervisor.channel import Mailbox
from fastlane.supervisor.child import Inheritance, WorkerContext
from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.listeners import open_listeners
from fastlane.supervisor.scoreboard import DRAINING, Scoreboard
from fastlane.supervisor.settings import Address

SECONDS = 30
"""How long anything is waited for that happens at once where nobody else loads the machine."""


async def app(scope, receive, send):
    assert scope["type"] == "http"
    path, _, seconds = scope["path"].partition("~")
    if path == "/sleep":
        await asyncio.sleep(float(seconds))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


def options(**flags) -> ServeOptions:
    return ServeOptions.gather({"access_log": False, "graceful_timeout": 5, **flags}, {})


# Load


def written(tmp_path, monkeypatch, text: str) -> dict:
    """The supervisor's options for a module with this text."""
    name = f"loaded_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return dict(options(app_dir=str(tmp_path)).settings(f"{name}:app").options)


def test_load_imports_the_application_and_what_serves_it(tmp_path, monkeypatch):
    config = worker.load(written(tmp_path, monkeypatch, "async def app(scope, receive, send): ..."))
    assert config.loaded
    assert config.http_protocol_class.__name__ == "LaneProtocol"


def test_load_compiles_a_fastlane_app(tmp_path, monkeypatch):
    text = "from fastlane import App\napp = App()\n@app.get('/')\nasync def index() -> str: return 'hi'\n"
    config = worker.load(written(tmp_path, monkeypatch, text))
    with pytest.raises(Exception, match=r"frozen|serves|added"):
        config.app.get("/late")(lambda: "x")


@pytest.mark.parametrize(
    ("route", "imported"),
    [
        ("", False),
        ("@app.websocket('/ws')\nasync def talk(websocket: WebSocket) -> None: ...\n", True),
        ("async def other(scope, receive, send): ...\napp.mount('/other', other)\n", True),
    ],
)
def test_websockets_are_imported_before_the_fork_where_they_are_served(tmp_path, monkeypatch, route, imported):
    calls = []
    monkeypatch.setattr(worker, "preload_websockets", lambda: calls.append(1))
    text = f"from fastlane import App, WebSocket\napp = App()\n{route}"
    worker.load(written(tmp_path, monkeypatch, text))
    assert bool(calls) is imported


def test_the_number_of_threads_reaches_the_app(tmp_path, monkeypatch):
    given = written(tmp_path, monkeypatch, "from fastlane import App\napp = App()\n")
    given["serve"]["threads"] = 3
    assert worker.load(given).app.threads.workers == 3


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("import nosuchmodule", 4, "nosuchmodule"),
        ("x = 1", 4, "has no attribute 'app'"),
        ("raise ValueError('bad')", 4, "ValueError: bad"),
    ],
)
def test_what_can_not_be_imported_is_a_failure_with_4(tmp_path, monkeypatch, text, code, expected):
    with pytest.raises(BootFailure, match=expected) as caught:
        worker.load(written(tmp_path, monkeypatch, text))
    assert caught.value.exit_code == code


def test_a_configuration_that_can_not_be_used_is_a_failure_with_2(tmp_path, monkeypatch):
    from fastlane.errors import ConfigurationError

    def refuse(*_):
        raise ConfigurationError("a resource that nobody configured")

    given = written(tmp_path, monkeypatch, "async def app(scope, receive, send): ...")
    monkeypatch.setattr(worker, "freeze", refuse)
    with pytest.raises(BootFailure, match="nobody configured") as caught:
        worker.load(given)
    assert caught.value.exit_code == 2


def test_a_certificate_that_can_not_be_read_is_a_failure_with_2(tmp_path, monkeypatch):
    given = written(tmp_path, monkeypatch, "async def app(scope, receive, send): ...")
    given["serve"]["certfile"] = str(tmp_path / "none.pem")
    with pytest.raises(BootFailure, match="TLS certificate") as caught:
        worker.load(given)
    assert caught.value.exit_code == 2


# Run


class Running:
    """A worker in this process: its loop runs in the main thread, `client` in another."""

    def __init__(self, given: ServeOptions = options(), app=app, **settings) -> None:  # noqa: B008
        self.board = Scoreboard(4)
        self.listeners = open_listeners((Address(host="127.0.0.1"),), 100)
        self.address = self.listeners[0].socket.getsockname()
        self.mailbox = Mailbox()
        self.lifeline = os.pipe()
        told = replace(given.settings("a:app"), **settings)
        inheritance = Inheritance(told, 1, self.board, self.listeners, self.mailbox, 2, self.lifeline[0], os.getppid())
        self.context = WorkerContext(inheritance, 0, self.board.slot(0))
        self.config = LaneConfig.from_options(app, given)
        self.config.load()
        self.result: object = None

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, SECONDS)

    def get(self, path: str = "/") -> bytes:
        with self.connect() as connection:
            return ask(connection, path)

    def term(self, stopping: bool) -> None:
        self.board.stopping = stopping
        os.kill(os.getpid(), signal.SIGTERM)

    def run(self, client) -> object:
        """Serve while ``client`` runs; it has to end with `term`."""
        failures: list[BaseException] = []
        served = threading.Event()

        def call() -> None:
            try:
                while not self.mailbox.received():
                    time.sleep(0.001)
                self.result = client()
            except BaseException as error:
                failures.append(error)
                if not served.is_set():  # else it would end this process
                    self.term(stopping=True)

        thread = threading.Thread(target=call)
        thread.start()
        try:
            worker.run(self.config, self.context)
        finally:
            served.set()
            thread.join(SECONDS)
            self.mailbox.close()
            for end in self.lifeline:
                os.close(end)
            for listener in self.listeners:
                listener.close()
        if failures:
            raise failures[0]
        return self.result


def ask(connection: socket.socket, path: str = "/", close: bool = False) -> bytes:
    ending = b"connection: close\r\n" if close else b""
    connection.sendall(b"GET %s HTTP/1.1\r\nhost: test\r\n%s\r\n" % (path.encode(), ending))
    data = b""
    while not data.endswith(b"hi"):
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    return data


def test_a_worker_serves_until_term():
    running = Running()

    def client():
        answer = running.get()
        running.term(stopping=True)
        return answer

    answer = running.run(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"date: " in answer
    assert running.board.slot(0).state == DRAINING


def test_a_path_that_the_options_name_says_whether_the_worker_is_alive(tmp_path, monkeypatch):
    flags = {"health_path": "/alive", "ready_path": "/ready"}
    given = written(tmp_path, monkeypatch, "async def app(scope, receive, send): ...")
    config = worker.load({**given, "serve": {**given["serve"], **flags}})
    assert type(config.app).__name__ == "HealthDoor"


def test_load_gives_a_fastlane_app_its_checks_and_paths(tmp_path, monkeypatch):
    text = "from fastlane import App\napp = App()\n@app.readiness\ndef database(): ..."
    given = written(tmp_path, monkeypatch, text)
    config = worker.load({**given, "serve": {**given["serve"], "health_path": "/alive"}})
    assert [check.name for check in config.readiness.checks] == ["database"]
    assert b"GET /alive" in config.app.table.exact
    assert b"GET /ready" not in config.app.table.exact


def test_during_the_drain_delay_the_worker_is_not_ready_and_still_accepts():
    running = Running(options(ready_path="/ready"), drain_delay=2)

    def ask_ready():
        with running.connect() as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\nhost: test\r\n\r\n")
            return connection.recv(65536)

    def client():
        before = ask_ready()
        running.term(stopping=True)
        while running.board.slot(0).state != DRAINING:
            time.sleep(0.001)
        return before, ask_ready(), running.get()

    running.config.loaded_app = HealthDoor(app, None, "/ready", running.config.readiness)
    before, ready, answer = running.run(client)
    assert before.startswith(b"HTTP/1.1 200 ")
    assert ready.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close\r\n" in ready
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in answer


def test_a_reload_leaves_the_worker_that_is_replaced_ready_for_who_still_asks_it():
    running = Running()

    def client():
        running.term(stopping=False)

    running.run(client)
    assert not running.config.readiness.is_stopping


def test_the_supervisor_is_told_what_the_checks_say_where_it_is_asked():
    answers = [False]
    running = Running(health=Address(host="127.0.0.1"))
    running.config.readiness = Readiness([lambda: answers[0]])
    slot = running.board.slot(0)

    def client():
        refused = slot.refuses
        running.term(stopping=True)
        return refused

    assert running.run(client)


def test_checks_are_not_asked_where_nobody_asks_the_supervisor():
    def check():
        raise AssertionError("asked")

    running = Running()
    running.config.readiness = Readiness([check])

    def client():
        running.get()
        running.term(stopping=True)
        return running.board.slot(0).refuses

    assert running.run(client) is False


def test_the_totals_are_told_once_more_at_the_end():
    running = Running(options(metrics=True))

    def client():
        for _ in range(3):
            running.get()
        running.term(stopping=True)

    running.run(client)
    slot = running.board.slot(0)
    assert (slot.requests, sum(slot.latencies)) == (3, 3)
    assert slot.latency_sum > 0


def test_the_slot_tells_of_connections_and_requests(monkeypatch):
    monkeypatch.setattr(server_module, "TICK_SECONDS", 0.01)
    running = Running()

    def client():
        slot = running.board.slot(0)
        with running.connect() as connection:
            ask(connection)
            while (slot.connections, slot.requests) != (1, 1):
                time.sleep(0.001)
            beat = slot.heartbeat
            while slot.heartbeat == beat:
                time.sleep(0.001)
        running.term(stopping=True)

    running.run(client)


def test_a_request_in_flight_is_answered_and_a_silent_connection_closed():
    running = Running(options(graceful_timeout=30))

    def client():
        with running.connect() as silent, running.connect() as busy:
            ask(silent)
            busy.sendall(b"GET /sleep~0.3 HTTP/1.1\r\nhost: test\r\n\r\n")
            began = time.monotonic()
            running.term(stopping=True)
            with busy.makefile("rb") as file:
                answer = file.read()
            assert silent.recv(10) == b""
            return answer, time.monotonic() - began

    answer, seconds = running.run(client)
    assert b"connection: close" in answer
    assert answer.endswith(b"hi")
    assert seconds < 15


def test_what_waited_in_the_queue_is_answered_before_the_last_worker_ends(monkeypatch):
    running = Running()
    # The loop is busy while connections and TERM arrive, so that it learns of all of them at once.
    stop = LaneServer.stop
    waiting: list[socket.socket] = []

    def connect_and_stop(server):
        for _ in range(20):
            waiting.append(running.connect())
            waiting[-1].sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        stop(server)

    monkeypatch.setattr(LaneServer, "stop", connect_and_stop)

    def client():
        running.term(stopping=True)
        while len(waiting) < 20:
            time.sleep(0.001)
        answers = []
        for connection in waiting:
            with connection, connection.makefile("rb") as file:
                answers.append(file.read())
        return answers

    for answer in running.run(client):
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer


def test_in_a_reload_a_silent_connection_may_speak_until_its_keep_alive_time_is_over():
    running = Running(options(keep_alive=2))

    def client():
        with running.connect() as first, running.connect() as second:
            ask(first)
            ask(second)
            running.term(stopping=False)
            while running.board.slot(0).state != DRAINING:
                time.sleep(0.001)
            answer = ask(first)
            assert second.recv(10) == b""
            return answer

    assert b"connection: close" in running.run(client)


def test_a_stop_in_the_middle_of_a_reload_ends_the_patience_with_silent_connections(monkeypatch):
    monkeypatch.setattr(server_module, "SILENT_SECONDS", 0.2)
    running = Running(options(keep_alive=75))

    def client():
        with running.connect() as silent:
            ask(silent)
            running.term(stopping=False)
            while running.board.slot(0).state != DRAINING:
                time.sleep(0.001)
            running.term(stopping=True)
            began = time.monotonic()
            assert silent.recv(10) == b""
            return time.monotonic() - began

    assert running.run(client) < 20


def test_what_runs_in_a_reload_is_cut_off_after_the_graceful_timeout_though_others_may_speak(caplog):
    running = Running(options(keep_alive=30, graceful_timeout=0.2))

    def client():
        with running.connect() as silent, running.connect() as busy:
            ask(silent)
            busy.sendall(b"GET /sleep~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
            while not running.board.slot(0).in_flight:
                time.sleep(0.001)
            began = time.monotonic()
            running.term(stopping=False)
            with busy.makefile("rb") as answer:
                assert b" 200 " not in answer.read()
            return time.monotonic() - began

    assert running.run(client) < 15


@pytest.mark.parametrize("kind", ["asgi", "fastlane"])
def test_what_is_cut_off_is_one_line_of_the_log_and_no_traceback(caplog, kind):
    native = App()

    @native.get("/sleep~3600")
    async def sleep() -> None:
        await asyncio.sleep(3600)

    running = Running(options(graceful_timeout=0.2), app=app if kind == "asgi" else native)

    def client():
        with running.connect() as busy:
            busy.sendall(b"GET /sleep~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
            while not running.board.slot(0).in_flight:
                time.sleep(0.001)
            running.term(stopping=True)
            return busy.recv(10)

    with caplog.at_level(logging.INFO):
        running.run(client)
    [line] = [record for record in caplog.records if record.name == "uvicorn.error" and record.levelno >= 30]
    assert line.getMessage() == "GET '/sleep~3600' was cut off: --graceful-timeout is over"
    assert "Traceback" not in caplog.text


def test_what_does_not_end_is_cut_off_at_the_graceful_timeout(caplog):
    async def stubborn(scope, receive, send):
        assert scope["type"] == "http"
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    running = Running(options(graceful_timeout=0.2), app=stubborn)

    def client():
        with running.connect() as busy:
            busy.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            while not running.board.slot(0).in_flight:
                time.sleep(0.001)
            running.term(stopping=True)
            running.term(stopping=True)  # to the whole group, perhaps: nothing new
            try:
                return busy.recv(10)
            except ConnectionResetError:
                return b""

    with caplog.at_level(logging.WARNING, "fastlane.server"):
        assert running.run(client) == b""
    assert "cutting off 1 connections and 1 tasks" in caplog.text


def test_during_the_drain_delay_connections_are_accepted_and_told_to_close():
    running = Running(drain_delay=2)

    def client():
        with running.connect() as before:
            ask(before)
            running.term(stopping=True)
            while running.board.slot(0).state != DRAINING:
                time.sleep(0.001)
            return running.get(), ask(before)

    for answer in running.run(client):
        assert b"connection: close" in answer


def test_a_lifespan_that_fails_is_a_boot_failure():
    async def fails(scope, receive, send):
        await receive()
        raise RuntimeError("no database")

    running = Running(app=fails)
    running.mailbox.send({"the": "client need not wait"})
    with pytest.raises(BootFailure, match="no database"):
        running.run(lambda: None)


def test_lifespan_off_asks_for_none():
    async def plain(scope, receive, send):
        assert scope["type"] == "http"
        await app(scope, receive, send)

    running = Running(options(lifespan="off"), app=plain)

    def client():
        running.get()
        running.term(stopping=True)

    running.run(client)


def test_tasks_and_generators_that_user_code_left_behind_are_ended():
    ended = []

    async def generate():
        try:
            yield 1
        finally:
            ended.append("generator")

    async def task():
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("task")

    kept = []

    async def leaves(scope, receive, send):
        assert scope["type"] == "http"
        kept.append(asyncio.get_running_loop().create_task(task()))
        generator = generate()
        kept.append(generator)
        await anext(generator)
        await app(scope, receive, send)

    running = Running(app=leaves)

    def client():
        running.get()
        running.term(stopping=True)

    running.run(client)
    assert sorted(ended) == ["generator", "task"]


def test_a_generator_that_does_not_end_holds_nothing(monkeypatch):
    monkeypatch.setattr(worker, "_END_SECONDS", 0.05)
    kept = []

    async def generate():
        try:
            yield 1
        finally:
            await asyncio.sleep(3600)

    async def leaves(scope, receive, send):
        assert scope["type"] == "http"
        kept.append(generate())
        await anext(kept[0])
        await app(scope, receive, send)

    running = Running(app=leaves)

    def client():
        running.get()
        running.term(stopping=True)

    running.run(client)


def test_where_nothing_else_kills_it_a_worker_ends_when_the_lifeline_does(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(server_module, "can_adopt", False)
    running = Running()

    def end(code):
        ended.set()
        asyncio.get_running_loop().remove_reader(running.lifeline[0])
        running.term(stopping=True)

    monkeypatch.setattr(server_module.os, "_exit", end)
    os.close(running.lifeline[1])
    running.lifeline = (running.lifeline[0], os.dup(running.lifeline[0]))
    running.run(lambda: ended.wait(SECONDS))
    assert running.result


def test_the_access_log_is_written_when_it_is_asked_for(capfd):
    running = Running(options(access_log=True))

    def client():
        running.get("/hello")
        running.term(stopping=True)

    running.run(client)
    assert '"GET /hello HTTP/1.1" 200' in capfd.readouterr().out


def test_a_websocket_is_told_goodbye_when_the_worker_drains():
    async def socket_app(scope, receive, send):
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        assert message["type"] == "websocket.disconnect"

    running = Running(app=socket_app)

    def client():
        from websockets.sync.client import connect

        with connect(f"ws://127.0.0.1:{running.address[1]}/") as connection:
            running.term(stopping=True)
            with pytest.raises(Exception, match="1012"):
                connection.recv()

    running.run(client)


def test_tls_is_served(tmp_path):
    import ssl

    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    running = Running(options(certfile=str(tmp_path / "cert.pem")))
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def client():
        with context.wrap_socket(running.connect(), server_hostname="127.0.0.1") as connection:
            answer = ask(connection, close=True)
        running.term(stopping=True)
        return answer

    assert running.run(client).endswith(b"hi")


# Standing alone


def alone(config: LaneConfig, client, sockets=None) -> LaneServer:
    """Serve without a supervisor while ``client(server)`` runs in a thread; it ends with ``server.should_exit``."""
    server = LaneServer(config)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            while not server.started:
                time.sleep(0.001)
            client(server)
        except BaseException as error:
            failures.append(error)
        finally:
            server.should_exit = True

    thread = threading.Thread(target=call)
    thread.start()
    asyncio.run(server.serve(sockets))
    thread.join(SECONDS)
    if failures:
        raise failures[0]
    return server


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(server_module, "TICK_SECONDS", 0.01)
    return lambda **keywords: LaneConfig(app, port=0, access_log=False, **keywords)


def test_alone_it_opens_its_own_socket_and_closes_idle_connections_at_once(config):
    def client(server):
        address = server.listeners[0].socket.getsockname()
        with socket.create_connection(address, SECONDS) as connection:
            ask(connection)
            server.should_exit = True
            assert connection.recv(10) == b""

    alone(config(), client)


def test_alone_it_listens_on_a_unix_socket_and_removes_it(config, tmp_path):
    path = tmp_path / "s"

    def client(server):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            assert ask(connection).endswith(b"hi")

    alone(config(uds=str(path)), client)
    assert not path.exists()


def test_alone_it_takes_an_open_socket_or_a_descriptor(config):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def client(_):
            with socket.create_connection(listening.getsockname(), SECONDS) as connection:
                assert ask(connection).endswith(b"hi")

        alone(config(), client, [listening.dup()])
        alone(config(fd=listening.dup().detach()), client)


def test_alone_it_ends_after_so_many_requests(config):
    def client(server):
        with socket.create_connection(server.listeners[0].socket.getsockname(), SECONDS) as connection:
            ask(connection)
            ask(connection)
            assert connection.recv(10) == b""

    assert alone(config(limit_max_requests=2), client).server_state.total_requests == 2


def test_alone_a_second_interrupt_ends_it_at_once(config):
    def client(server):
        with socket.create_connection(server.listeners[0].socket.getsockname(), SECONDS) as connection:
            connection.sendall(b"GET /sleep~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
            while not server.server_state.tasks:
                time.sleep(0.001)
            server._loop.call_soon_threadsafe(server.handle_exit, signal.SIGINT, None)
            while not server.should_exit:
                time.sleep(0.001)
            server._loop.call_soon_threadsafe(server.handle_exit, signal.SIGINT, None)
            assert connection.recv(10) == b""

    with pytest.raises(KeyboardInterrupt):
        alone(config(timeout_graceful_shutdown=None), client)


def test_stop_called_twice_ends_at_once(config):
    def client(server):
        with socket.create_connection(server.listeners[0].socket.getsockname(), SECONDS) as connection:
            connection.sendall(b"GET /sleep~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
            while not server.server_state.tasks:
                time.sleep(0.001)
            server._loop.call_soon_threadsafe(server.stop)
            server._loop.call_soon_threadsafe(server.stop)
            assert connection.recv(10) == b""

    assert alone(config(), client).force_exit


def test_no_date_header_where_it_is_not_wanted(config):
    def client(server):
        with socket.create_connection(server.listeners[0].socket.getsockname(), SECONDS) as connection:
            assert b"date:" not in ask(connection).lower()

    alone(config(date_header=False), client)
