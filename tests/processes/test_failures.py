"""Workers that die, hang, stop, or never come up."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.processes.load import Load
from tests.processes.served import PLAIN, SECONDS, get, wait_until

pytestmark = pytest.mark.process


def test_a_killed_worker_loses_what_it_had_and_is_back(serve):
    served = serve("--workers", "2").ready()
    with Load(served.port, keep_alive=8, short=2) as load:
        [first, second] = served.workers()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(set(served.workers()) - {first}) == 2, what="two workers")
        load.more(200)
    # A request of the short clients may be on its way beside the one that is answered.
    assert len(load.lost) <= 10
    assert second in served.workers()
    served.wait_for(r"worker \d \(pid \d+\) ended with SIGKILL")


def test_a_handler_that_ends_the_process_does_not_take_the_siblings_along(serve):
    served = serve("--workers", "2").ready()
    before = set(served.workers())
    with pytest.raises(ConnectionError):
        served.get("/exit")
    served.wait_for("exit code 9")
    wait_until(lambda: len(served.workers()) == 2)
    assert len(before & set(served.workers())) == 1


def test_a_crash_loop_makes_fewer_than_20_starts_in_10_seconds(serve):
    crashes = "import os, threading\n" + PLAIN.replace(
        'if scope["type"] == "lifespan":',
        'if scope["type"] == "lifespan":\n        threading.Timer(0.5, os._exit, (7,)).start()',
    )
    served = serve("--workers", "4", app=crashes)
    served.wait_for("starting another in 3.2 s")
    assert served.text.count("exit code 7") < 10
    assert served.stop() == 0


def test_a_blocked_worker_is_named_with_its_stack_and_replaced_while_its_sibling_answers(serve):
    served = serve("--workers", "2", "--timeout", "5s").ready()
    before = set(served.workers())
    with served.connect() as connection:
        connection.sendall(b"GET /block_the_loop~3600 HTTP/1.1\r\nhost: test\r\n\r\n")
        served.has_begun("/block_the_loop")
        slowest, end = 0.0, time.monotonic() + SECONDS
        while "replacing it" not in served.text:
            began = time.monotonic()
            served.get()
            slowest = max(slowest, time.monotonic() - began)
            assert time.monotonic() < end
            time.sleep(0.01)
        assert slowest < 2.5  # half of the time for which the sibling is blocked
        served.wait_for(r"the event loop of worker \d \(pid \d+\) has been blocked for")
        served.wait_for(r"service.py.*, line \d+ in app")
        wait_until(lambda: len(served.workers()) == 2 and len(before & set(served.workers())) == 1)
        assert connection.recv(100) == b""


def test_a_slow_start_is_no_hang(serve):
    served = serve("--timeout", "1s", app="import time\ntime.sleep(3)\n" + PLAIN).ready()
    assert served.get().startswith("one ")
    assert "blocked" not in served.text


def test_an_import_that_holds_the_interpreter_lock_is_no_hang_and_delays_nobody_in_a_reload(serve):
    app = "import ctypes\nctypes.PyDLL(None).usleep(3_000_000)\n" + PLAIN
    served = serve("--workers", "2", "--timeout", "1s", app=app).ready()
    with Load(served.port) as load:
        served.signal(signal.SIGHUP)
        served.wait_for("generation 2 serves")
        load.more(20)
    assert load.lost == []
    assert load.slowest < 2.5
    assert "blocked" not in served.text


def test_a_stopped_worker_is_called_stopped_and_no_new_connection_waits_for_it(serve):
    served = serve("--workers", "2", "--timeout", "10s").ready()
    connections, owners = [], set()
    while len(owners) < 2 and len(connections) < 200:
        connections += [served.connect() for _ in range(20)]
        owners |= {int(get(connection).split()[1]) for connection in connections[-20:]}
    [first, second] = served.workers()
    os.kill(first, signal.SIGSTOP)
    try:
        for _ in range(40):
            began = time.monotonic()
            assert int(served.get().split()[1]) == second
            assert time.monotonic() - began < 3.0
    finally:
        for connection in connections:
            connection.close()
    assert owners == {first, second}
    served.wait_for(r"has been stopped \(SIGSTOP")
    wait_until(lambda: first not in served.workers() and len(served.workers()) == 2)


def test_a_lost_template_is_imported_again(serve):
    served = serve("--workers", "2").ready()
    template = next(pid for pid in served.children() if pid not in served.workers())
    with Load(served.port) as load:
        os.kill(template, signal.SIGKILL)
        served.wait_for("importing service:app again")
        load.more(50)
    assert load.lost == []
    os.kill(served.workers()[0], signal.SIGKILL)
    wait_until(lambda: len(served.workers()) == 2)


def test_a_machine_that_stood_still_costs_no_worker(serve):
    served = serve("--workers", "2", "--timeout", "1s").ready()
    processes = [served.pid, *served.children()]
    workers = served.workers()
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)  # this is the pause, not a wait for something
    for pid in processes:
        os.kill(pid, signal.SIGCONT)
    served.wait_for("stood still")
    for _ in range(20):
        served.get()
    assert served.workers() == workers
