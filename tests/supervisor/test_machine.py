from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from fastlane.supervisor import machine as module
from fastlane.supervisor.listeners import open_listeners
from fastlane.supervisor.machine import Died, Machine, Mailed, Signalled, TemplateSaid
from fastlane.supervisor.scoreboard import READY, Scoreboard
from fastlane.supervisor.settings import Address, Settings

# Threads that other tests have left, or that are just ending, are nothing to this: Python warns of a fork beside them.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def load(options):
    """What the template calls here."""
    if options.get("hang"):
        time.sleep(3600)
    if options.get("exit"):
        os._exit(5)
    return options


def run(app, context):
    """What the workers call here."""
    if app.get("fail"):
        raise RuntimeError("no database")
    context.slot.beat(1, 2, 3)
    context.ready()
    while True:
        time.sleep(3600)


HERE = __name__


@pytest.fixture
def make():
    made: list[Machine] = []

    def machine() -> tuple[Machine, Scoreboard]:
        board = Scoreboard(8)
        made.append(Machine(open_listeners((Address(host="127.0.0.1"),), 10), board))
        return made[-1], board

    yield machine
    for one in made:
        one.close()


def settings(**options) -> Settings:
    return Settings(load=f"{HERE}:load", run=f"{HERE}:run", options=options)


def collect(machine: Machine, kind: type, seconds: float = 60.0, workers=()):
    """The next event of a kind; those before it are let go."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in machine.wait(1.0, workers):
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


def test_signals_become_events(make):
    machine, _ = make()
    os.kill(os.getpid(), signal.SIGHUP)
    assert collect(machine, Signalled) == Signalled(signal.SIGHUP)
    assert machine.wait(0, ()) == []


def test_the_handlers_of_before_are_restored():
    before = signal.getsignal(signal.SIGHUP)
    machine = Machine([], Scoreboard(1))
    assert signal.getsignal(signal.SIGHUP) is not before
    machine.close()
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_template_loads_forks_a_worker_and_ends(make):
    machine, board = make()
    template = machine.start_template(1, settings())
    assert collect(machine, TemplateSaid).message["loaded"]
    board.slot(3).order(7)
    machine.order_worker(1, 0, 3, 7)
    events = []
    end = time.monotonic() + 60
    while time.monotonic() < end and len(events) < 2:
        events += [event for event in machine.wait(1.0, ()) if isinstance(event, Mailed | TemplateSaid)]
    [pid] = [event.message["forked"] for event in events if isinstance(event, TemplateSaid)]
    assert Mailed(3, {"slot": 3, "ready": True}) in events
    slot = board.slot(3)
    assert (slot.pid, slot.state, slot.requests) == (pid, READY, 2)
    assert machine.run_state(pid) in ("R", "S", "D")
    assert machine.resident_memory(pid) > 0
    machine.ask_stack(pid)
    text = ""
    while "in run" not in text:
        text += machine.stack()
    machine.end_template(1)
    # Its channel is closed and it is killed: either ends it.
    assert collect(machine, Died) in (Died(template, -signal.SIGKILL), Died(template, 0))
    machine.kill(pid, signal.SIGTERM)
    # Its loop is Python's sleep: the handler of the time before a server runs, and ends it.
    assert collect(machine, Died) == Died(pid, 0)
    machine.kill(pid, signal.SIGTERM)


def test_what_a_worker_wrote_comes_before_its_death(make):
    machine, board = make()
    machine.start_template(1, settings(fail=True))
    collect(machine, TemplateSaid)
    board.slot(0).order(1)
    machine.order_worker(1, 0, 0, 1)
    # One look may see both: what comes with an event is not let go here. The template may tell of its fork last.
    events, end = [], time.monotonic() + 60
    while not (
        any(isinstance(event, Died) and event.status == 3 for event in events)
        and any(isinstance(event, TemplateSaid) for event in events)
    ):
        assert time.monotonic() < end
        events += machine.wait(1.0, ())
    [pid] = [event.message["forked"] for event in events if isinstance(event, TemplateSaid)]
    [mailed] = [event for event in events if isinstance(event, Mailed)]
    assert mailed.message["code"] == 3
    assert "no database" in mailed.message["failed"]
    assert events.index(mailed) < events.index(Died(pid, 3))


def test_a_template_that_dies_is_a_death_and_no_endless_event(make):
    machine, _ = make()
    pid = machine.start_template(1, settings(exit=True))
    assert collect(machine, Died) == Died(pid, 5)
    assert machine.wait(0, ()) == []
    machine.end_template(1)


def test_a_second_template_does_not_hold_the_first_ones_channel(make):
    machine, _ = make()
    first = machine.start_template(1, settings())
    collect(machine, TemplateSaid)
    machine.start_template(2, settings())
    collect(machine, TemplateSaid)
    # Closed, not killed: its end shows that nobody else has the other end.
    template = machine._templates.pop(1)
    machine._poll.unregister(template.channel.fileno())
    template.channel.close()
    assert collect(machine, Died) == Died(first, 0)


def test_where_workers_are_not_adopted_their_death_is_looked_for(make, monkeypatch):
    machine, _ = make()
    monkeypatch.setattr(module, "can_adopt", False)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert machine.wait(0, [pid, os.getpid()]) == [Died(pid, None)]


def test_an_ended_template_holds_no_listener_when_the_server_stops(make):
    machine, _ = make()
    pid = machine.start_template(1, settings(hang=True))
    machine.end_template(1)
    machine.stop_listening()
    assert machine.run_state(pid) == ""


def test_closing_the_listeners_leaves_the_rest(make):
    machine, _ = make()
    machine.stop_listening()
    assert abs(machine.now() - time.monotonic()) < 1


def test_the_supervisor_imports_nothing_but_the_standard_library():
    import subprocess

    code = (
        "import sys, fastlane.supervisor.main, fastlane.supervisor.supervisor\n"
        "top = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(top & {'asyncio', 'uvicorn', 'uvloop', 'msgspec', 'click', 'httptools', 'ssl'}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


@pytest.mark.parametrize(
    ("predecessor", "inherited", "shares"), [(None, False, False), (None, True, True), (-2, True, False)]
)
def test_sockets_are_shared_with_who_left_them_as_long_as_it_lives(monkeypatch, predecessor, inherited, shares):
    [listener] = open_listeners((Address(host="127.0.0.1"),), 10)
    monkeypatch.setattr(module, "_exists", lambda pid: pid != -2)
    machine = Machine([module.Listener(listener.socket, inherited)], Scoreboard(1), predecessor)
    assert machine.shares_sockets() is shares
    machine.close()


def test_sockets_are_shared_with_a_successor_until_it_ends(make, monkeypatch):
    machine, _ = make()
    pid = os.fork()
    if pid == 0:
        time.sleep(3600)
    monkeypatch.setattr(module, "start_successor", lambda listeners: pid)
    assert machine.start_successor() == pid
    assert machine.shares_sockets()
    os.kill(pid, signal.SIGKILL)
    assert collect(machine, Died) == Died(pid, -signal.SIGKILL)
    assert not machine.shares_sockets()


def test_process_1_has_no_successor(make, monkeypatch):
    machine, _ = make()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert machine.start_successor() is None


def test_systemd_and_the_pid_file_are_kept_up(tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000"}
        pid_file = module.PidFile(str(tmp_path / "pid"))
        pid_file.write()
        machine = Machine([], Scoreboard(1), None, module.Notifier(environment, os.getpid()), pid_file)
        assert machine.wait(10.0, ()) == []  # no longer than the watchdog allows
        machine.tell("READY=1")
        assert receiver.recv(100) == b"WATCHDOG=1"
        assert receiver.recv(100) == b"READY=1"
        machine.close()
    assert not (tmp_path / "pid").exists()
