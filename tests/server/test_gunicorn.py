from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from gunicorn.config import Config as GunicornConfig
from gunicorn.glogging import Logger

from fastlane.server import gunicorn as module
from fastlane.server import server as server_module
from fastlane.server.gunicorn import Worker
from fastlane.supervisor.failure import BootFailure


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@pytest.fixture
def make(monkeypatch, tmp_path):
    """A gunicorn worker that has not been forked."""
    names = ("gunicorn.error", "gunicorn.access", "uvicorn.error", "uvicorn.access", "fastlane")
    kept = {name: logging.getLogger(name) for name in names}
    before = {name: (list(one.handlers), one.level, one.propagate) for name, one in kept.items()}
    monkeypatch.setattr(server_module, "TICK_SECONDS", 0.01)
    made = []

    def worker(sockets=(), **settings) -> Worker:
        cfg = GunicornConfig()
        for name, value in {"worker_tmp_dir": str(tmp_path), **settings}.items():
            cfg.set(name, value)
        made.append(Worker(0, os.getppid(), list(sockets), None, 30, cfg, Logger(cfg)))
        made[-1].wsgi = app
        return made[-1]

    yield worker
    for one in made:
        one.tmp.close()
    for name, (handlers, level, propagate) in before.items():
        kept[name].handlers, kept[name].level, kept[name].propagate = handlers, level, propagate


def test_gunicorns_options_count(make):
    config = make(keepalive=7, graceful_timeout=20, forwarded_allow_ips="10.0.0.1", max_requests=5).configuration()
    assert config.timeout_keep_alive == 7.0
    assert config.timeout_graceful_shutdown == 19.0
    assert config.forwarded_allow_ips == ["10.0.0.1"] or config.forwarded_allow_ips == "10.0.0.1"
    assert config.limit_max_requests == 5
    assert not config.access_log
    assert make().configuration().limit_max_requests is None


def test_gunicorns_tls_options_count(make):
    config = make(certfile="c", keyfile="k", ca_certs="a", cert_reqs=2, ciphers="HIGH", accesslog="-").configuration()
    assert (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs) == ("c", "k", "a")
    assert (config.ssl_cert_reqs, config.ssl_ciphers) == (2, "HIGH")
    assert config.access_log


def test_loggers_write_where_gunicorns_do(make, monkeypatch):
    worker = make()
    monkeypatch.setattr(module.GunicornWorker, "init_process", lambda self: None)
    worker.init_process()
    assert logging.getLogger("fastlane").handlers is worker.log.error_log.handlers
    assert logging.getLogger("uvicorn.access").handlers is worker.log.access_log.handlers


class FakeSocket:
    """What gunicorn hands over: a wrapper."""

    def __init__(self, sock) -> None:
        self.sock = sock


def listening():
    import socket

    return socket.create_server(("127.0.0.1", 0))


def test_it_ends_with_the_arbiter(make):
    with listening() as server:
        worker = make([FakeSocket(server.dup())])
        worker.ppid = -1
        notified = []
        worker.notify = lambda: notified.append(1)
        worker.run()
        assert notified


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_end_it(make, number):
    with listening() as server:
        worker = make([FakeSocket(server.dup())])
        interrupted = []
        worker.cfg.set("worker_int", lambda worker: interrupted.append(worker))
        worker.notify = lambda: os.kill(os.getpid(), number)
        worker.run()
        assert not worker.alive
        assert bool(interrupted) == (number == signal.SIGINT)


def test_a_term_that_came_before_the_server_ran_ends_it(make):
    with listening() as server:
        worker = make([FakeSocket(server.dup())])
        worker.notify = lambda: None
        worker.handle_exit(signal.SIGTERM, None)
        worker.run()
        assert not worker.alive


def test_a_failed_lifespan_is_a_boot_error(make, monkeypatch):
    async def fails(scope, receive, send):
        await receive()
        raise RuntimeError("no database")

    with listening() as server:
        worker = make([FakeSocket(server.dup())])
        worker.wsgi = fails
        errors = []
        worker.log.error = lambda text, *arguments: errors.append(text % arguments)
        with pytest.raises(SystemExit) as caught:
            worker.run()
    assert caught.value.code == 3
    assert "RuntimeError: no database" in errors[0]
    assert issubclass(BootFailure, Exception)


@pytest.mark.process
def test_gunicorn_serves_reloads_and_stops_with_it(tmp_path):
    (tmp_path / "service.py").write_text(
        "from fastlane import App\napp = App()\n@app.get('/')\nasync def index() -> str: return 'one'\n"
    )
    command = [sys.executable, "-m", "gunicorn", "service:app", "-k", "fastlane.server.gunicorn.Worker", "-w", "2"]
    process = subprocess.Popen(
        [*command, "-b", "127.0.0.1:0", "--no-control-socket"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        log = b""
        while log.count(b"Booting worker") < 2:
            log += process.stderr.readline()
        url = re.search(rb"http://127\.0\.0\.1:\d+", log)[0].decode()

        def get() -> bytes:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read()

        assert get() == b"one"
        (tmp_path / "service.py").write_text((tmp_path / "service.py").read_text().replace("one", "two"))
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 60
        while get() != b"two":
            assert time.monotonic() < end
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
