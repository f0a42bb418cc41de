"""A server starts, fails to start, and stops."""

from __future__ import annotations

import os
import re
import signal
import socket
import time

import pytest

from tests.processes.load import Load
from tests.processes.served import PLAIN, get, title, wait_until

pytestmark = pytest.mark.process

POOL = """
import concurrent.futures, functools

@functools.cache
def pool():
    return concurrent.futures.ProcessPoolExecutor(1)
"""
POOLED = POOL + PLAIN.replace("{os.getpid()}", "{await asyncio.get_running_loop().run_in_executor(pool(), os.getpid)}")
"""Its answers have the id of a process of a pool."""


def test_serves_and_ends_with_0_on_term(serve):
    served = serve("--workers", "2").ready()
    assert served.get().startswith("one ")
    assert len(served.workers()) == 2
    assert served.stop() == 0


def test_one_worker_has_a_supervisor_too(serve):
    served = serve().ready()
    assert int(served.get().split()[1]) == served.workers()[0] != served.pid


def test_requests_in_flight_are_answered_before_it_ends(serve):
    served = serve("--workers", "2").ready()
    connections = [served.connect() for _ in range(8)]
    for connection in connections:
        connection.sendall(b"GET /sleep~3 HTTP/1.1\r\nhost: test\r\n\r\n")
    served.has_begun("/sleep", 8)
    served.signal(signal.SIGTERM)
    heads = []
    for connection in connections:
        with connection:
            heads.append(connection.makefile("rb").read())
    assert [head for head in heads if not head.startswith(b"HTTP/1.1 200 ") or b"connection: close" not in head] == []
    assert served.wait() == 0


def test_a_handler_that_never_ends_is_cut_off_at_the_graceful_timeout(serve):
    served = serve("--graceful-timeout", "0.5").ready()
    with served.connect() as connection:
        connection.sendall(b"GET /sleep~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
        served.has_begun("/sleep")
        began = time.monotonic()
        assert served.stop() == 0
        assert 0.4 < time.monotonic() - began < 15.0


def test_a_handler_that_blocks_the_loop_is_killed_two_seconds_after_the_graceful_timeout(serve):
    served = serve("--graceful-timeout", "0.5").ready()
    with served.connect() as connection:
        connection.sendall(b"GET /block_the_loop~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
        served.has_begun("/block_the_loop")
        began = time.monotonic()
        assert served.stop() == 0
        assert 2.4 < time.monotonic() - began < 15.0


def test_processes_of_a_pool_that_nobody_shut_down_end_with_their_worker(serve):
    served = serve("--graceful-timeout", "60", app=POOLED).ready()
    process = int(served.get().split()[1])
    assert process not in served.workers()
    assert served.stop() == 0
    assert "killing it" not in served.text
    wait_until(lambda: not title(process), what="the end of the process of the pool")


def test_a_second_int_ends_at_once_with_130(serve):
    served = serve("--graceful-timeout", "60").ready()
    with served.connect() as connection:
        connection.sendall(b"GET /sleep~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
        served.has_begun("/sleep")
        served.signal(signal.SIGINT)
        served.wait_for("SIGINT: stopping")
        served.signal(signal.SIGINT)
        assert served.wait() == 130


def test_quit_ends_at_once(serve):
    served = serve().ready()
    workers = served.workers()
    served.signal(signal.SIGQUIT)
    assert served.wait() == 131
    wait_until(lambda: not any(title(pid) for pid in workers), what="the end of the workers")


def test_an_idle_connection_may_ask_once_more_while_the_server_stops(serve):
    served = serve().ready()
    with served.connect() as connection:
        get(connection)
        served.signal(signal.SIGTERM)
        answer = b""
        while b"connection: close" not in answer:  # one more or two, until the worker has heard of it
            connection.sendall(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
        assert connection.recv(1) == b""
    assert served.wait() == 0


def test_no_worker_survives_a_killed_supervisor(serve):
    served = serve("--workers", "2").ready()
    processes = served.children()
    assert len(processes) == 3
    served.signal(signal.SIGKILL)
    wait_until(lambda: not any(title(pid) for pid in processes), what="the end of all processes")


def test_not_even_one_whose_loop_is_blocked(serve):
    served = serve().ready()
    [worker] = served.workers()
    with served.connect() as connection:
        connection.sendall(b"GET /block_the_loop~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
        served.has_begun("/block_the_loop")
        served.signal(signal.SIGKILL)
        wait_until(lambda: not title(worker), what="the end of the worker")


@pytest.mark.parametrize(
    ("app", "code", "expected"),
    [
        ("import nosuchmodule", 4, "service.py:1"),
        ("raise RuntimeError('no config')", 4, "service.py:1"),
        ("x = 1", 4, "has no attribute 'app'"),
        (
            "async def app(scope, receive, send):\n    await receive()\n    raise RuntimeError('no database')",
            3,
            "service.py:3",
        ),
        ("import os\nasync def app(scope, receive, send):\n    os._exit(5)", 3, "exit code 5 before it was ready"),
    ],
)
def test_a_failed_start_is_reported_once_and_ends_at_once(serve, app, code, expected):
    served = serve("--workers", "4", app=app)
    served.wait_for(re.escape(expected))
    told = time.monotonic()
    assert served.wait() == code
    assert time.monotonic() - told < 5.0  # not at the deadline, and not after other attempts
    assert served.text.count("Traceback") <= 1
    assert served.text.count("ERROR") == 1


def test_a_port_in_use_ends_with_3(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        served = serve("--port", str(port))
        assert served.wait() == 3
    assert f"127.0.0.1 port {port}" in served.text
    assert "in use" in served.text


def test_a_second_instance_ends_with_3_and_the_first_serves_on(serve, tmp_path):
    first = serve("--workers", "2").ready()
    second = serve("--port", str(first.port))
    assert second.wait() == 3
    assert first.get().startswith("one ")


def test_a_bad_option_ends_with_2(serve):
    served = serve("--workers", "many")
    assert served.wait() == 2
    assert "--workers" in served.text


def test_a_start_that_takes_too_long_ends_with_3(serve):
    served = serve("--boot-timeout", "0.3", app="import time\ntime.sleep(3600)")
    assert served.wait() == 3
    assert "--boot-timeout" in served.text


def test_term_is_acted_on_while_the_application_is_imported(serve):
    served = serve(app="import time\ntime.sleep(3600)")
    served.wait_for("starting")
    served.signal(signal.SIGTERM)
    assert served.wait() == 0


def test_supervisor_and_workers_show_what_they_are(serve):
    served = serve().ready()
    titles = sorted(title(pid)[:18] for pid in served.children())
    assert titles == ["fastlane: template", "fastlane: worker 0"]
    assert os.path.exists(f"/proc/{served.pid}")


def test_a_lifespan_runs_to_its_end(serve):
    served = serve(app=PLAIN.replace("return\n", 'print("ended", flush=True); return\n', 1), stdout=-1)
    served.ready()
    assert served.stop() == 0
    assert served.process.stdout.read() == b"ended\n"
    served.process.stdout.close()


def test_a_stop_under_load_drops_no_connection_that_it_had_accepted(serve):
    served = serve("--workers", "2").ready()
    with Load(served.port, keep_alive=16, short=8) as load:
        assert served.stop() == 0
    assert [reason for reason in load.lost if "ConnectionRefused" not in reason] == []
