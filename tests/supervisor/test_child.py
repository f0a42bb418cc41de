from __future__ import annotations

import os
import signal
import threading

import pytest

from fastlane.supervisor import boot, child, template
from fastlane.supervisor.channel import Channel, Mailbox
from fastlane.supervisor.child import Inheritance, WorkerContext
from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.memory import MemoryFile
from fastlane.supervisor.scoreboard import DRAINING, READY, Scoreboard
from fastlane.supervisor.settings import Settings


class Exited(BaseException):
    """Instead of the end of this process."""


class Refused(ValueError):
    exit_code = 2


LOADED: list[object] = []
THREADS: list[threading.Thread] = []
"""Those that seem to run beside the main one; other tests may have left real ones."""
MAILBOXES: list[Mailbox] = []


def load(options):
    LOADED.append(options)
    if "load" in options:
        raise options["load"]
    return "the app"


def run(app, context):
    outcome = context.options.get("run")
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def inherit(**options) -> Inheritance:
    settings = Settings(load=f"{__name__}:load", run=f"{__name__}:run", options=options, name="a:app")
    MAILBOXES.append(Mailbox())
    return Inheritance(settings, 1, Scoreboard(2), [], MAILBOXES[-1], 2, 0, os.getppid())


@pytest.fixture(autouse=True)
def _process(monkeypatch):
    """Nothing in this process is changed or ended."""

    def exit_process(code):
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", exit_process)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(child, "set_title", lambda _: None)
    monkeypatch.setattr(template, "set_title", lambda _: None)
    monkeypatch.setattr(child, "die_with_parent", lambda _: None)
    monkeypatch.setattr(template, "die_with_parent", lambda _: None)
    monkeypatch.setattr(child.faulthandler, "register", lambda *_, **__: None)
    monkeypatch.setattr(child.atexit, "_run_exitfuncs", lambda: None)
    monkeypatch.setattr(child.logging, "shutdown", lambda: None)
    monkeypatch.setattr(template.threading, "enumerate", lambda: [template.threading.main_thread(), *THREADS])
    monkeypatch.setattr(template.gc, "disable", lambda: None)
    monkeypatch.setattr(template.gc, "freeze", lambda: None)
    LOADED.clear()
    THREADS.clear()
    yield
    while MAILBOXES:
        MAILBOXES.pop().close()


def worker(inheritance: Inheritance, app: object | None = "the app") -> tuple[int, list[dict]]:
    inheritance.board.slot(0).order(5)
    with pytest.raises(Exited) as caught:
        child.run_worker(inheritance, 0, 0, 5, app)
    mail = inheritance.mailbox.received()
    return caught.value.args[0], mail


@pytest.mark.parametrize(("outcome", "code"), [(None, 0), (7, 7)])
def test_the_exit_code_is_what_run_returns(outcome, code):
    assert worker(inherit(run=outcome)) == (code, [])
    assert LOADED == []


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (BootFailure("no database", 3), 3, "no database"),
        (SystemExit(9), 3, "sys.exit(9)"),
        (RuntimeError("broken"), 3, "RuntimeError: broken"),
        (Refused("bad"), 2, "Refused: bad"),
    ],
)
def test_a_failure_is_mailed_with_its_code(error, code, text):
    exit_code, [mail] = worker(inherit(run=error))
    assert exit_code == code == mail["code"]
    assert text in mail["failed"]


def test_without_preload_each_worker_loads():
    assert worker(inherit(), app=None)[0] == 0
    assert len(LOADED) == 1


@pytest.mark.parametrize(
    ("error", "code"), [(BootFailure("no module", 4), 4), (RuntimeError("x"), 4), (SystemExit(1), 4), (Refused("x"), 2)]
)
def test_what_fails_to_load_has_a_code(error, code):
    exit_code, [mail] = worker(inherit(load=error), app=None)
    assert exit_code == code == mail["code"]


def test_a_worker_without_an_order_ends_at_once():
    inheritance = inherit(run=RuntimeError("never called"))
    with pytest.raises(Exited):
        child.run_worker(inheritance, 0, 0, 5, "the app")
    assert inheritance.mailbox.received() == []


def test_a_worker_waits_for_its_adoption(monkeypatch):
    inheritance = inherit()
    parents = [12345, 12345, inheritance.supervisor]
    slept = []
    monkeypatch.setattr(os, "getppid", lambda: parents[0] if len(parents) == 1 else parents.pop(0))
    monkeypatch.setattr(child.time, "sleep", slept.append)
    assert worker(inheritance)[0] == 0
    assert len(slept) == 1


def test_a_worker_whose_supervisor_is_gone_ends(monkeypatch):
    inheritance = inherit(run=RuntimeError("never called"))
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert inheritance.supervisor != 1
    code, mail = worker(inheritance)
    assert mail == []
    assert code in (0, 1)


def test_elsewhere_nobody_is_adopted(monkeypatch):
    monkeypatch.setattr(child, "can_adopt", False)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert worker(inherit())[0] == 0


def test_the_context_writes_the_slot_and_the_mail():
    inheritance = inherit()
    context = WorkerContext(inheritance, 1, inheritance.board.slot(1))
    context.ready()
    assert context.slot.state == READY
    context.draining()
    assert context.slot.state == DRAINING
    assert not context.stopping
    inheritance.board.stopping = True
    assert context.stopping
    assert inheritance.mailbox.received() == [{"slot": 1, "ready": True}, {"slot": 1, "draining": True}]


def run_template(inheritance: Inheritance, *orders: dict) -> tuple[int, list[dict | None]]:
    ours, theirs = Channel.pair()
    for order in orders:
        ours.send(order)
    ours.socket.shutdown(1)
    with pytest.raises(Exited) as caught:
        template.run_template(inheritance, theirs)
    theirs.close()
    messages = ours.received()
    ours.close()
    return caught.value.args[0], messages[:-1]


def test_a_template_loads_says_so_and_ends_with_its_channel():
    assert run_template(inherit()) == (0, [{"loaded": True, "threads": []}])


def test_a_template_names_the_threads_that_its_application_started():
    THREADS.append(threading.Thread(name="metrics"))
    assert run_template(inherit()) == (0, [{"loaded": True, "threads": ["metrics"]}])


def test_a_template_that_fails_says_why():
    code, [message] = run_template(inherit(load=BootFailure("no module", 4)))
    assert (code, message) == (4, {"failed": "no module", "code": 4})


def test_without_preload_the_template_loads_nothing():
    inheritance = inherit()
    object.__setattr__(inheritance.settings, "preload", False)
    assert run_template(inheritance)[0] == 0
    assert LOADED == []


@pytest.mark.parametrize("boots", [True, False])
def test_a_template_boots_between_loading_and_its_word_that_it_has(monkeypatch, boots):
    inheritance = inherit()
    object.__setattr__(inheritance.settings, "boot", f"{__name__}:never_called_here")
    booted = []
    monkeypatch.setattr(boot, "boot", lambda *arguments: (booted.append(arguments[2]), MemoryFile("test"))[1])
    app = type("Loaded", (), {"boots": boots})()
    monkeypatch.setattr(template, "load_application", lambda _: app)
    assert run_template(inheritance)[0] == 0
    assert booted == ([app] if boots else [])


def test_without_preload_the_boot_process_finds_out_whether_there_is_anything_to_boot(monkeypatch):
    inheritance = inherit()
    object.__setattr__(inheritance.settings, "boot", f"{__name__}:never_called_here")
    object.__setattr__(inheritance.settings, "preload", False)
    booted = []
    monkeypatch.setattr(boot, "boot", lambda *arguments: (booted.append(arguments[2]), MemoryFile("test"))[1])
    assert run_template(inheritance)[0] == 0
    assert booted == [None]


def test_a_template_whose_boot_process_fails_says_why(monkeypatch):
    inheritance = inherit()
    object.__setattr__(inheritance.settings, "boot", f"{__name__}:never_called_here")

    def fail(*_):
        raise BootFailure("blog: there is no database", 2)

    monkeypatch.setattr(boot, "boot", fail)
    code, [message] = run_template(inheritance)
    assert (code, message) == (2, {"failed": "blog: there is no database", "code": 2})


def test_a_worker_reads_the_report_of_the_boot_process():
    report = MemoryFile("test")
    report.write(b"addresses")
    inheritance = inherit()
    context = WorkerContext(inheritance, 0, inheritance.board.slot(0), report.read())
    assert context.report == b"addresses"
    report.close()


def test_a_template_forks_for_each_order(monkeypatch):
    monkeypatch.setattr(template, "_fork_worker", lambda *_: 4711)
    code, messages = run_template(inherit(), {"index": 0, "slot": 1, "order": 2})
    assert code == 0
    assert messages[1] == {"forked": 4711, "slot": 1, "order": 2}


def test_the_template_learns_the_process_id_of_its_grandchild(monkeypatch):
    forks = iter([4711])
    monkeypatch.setattr(os, "fork", lambda: next(forks))
    monkeypatch.setattr(os, "waitpid", lambda pid, _: (pid, 0))
    pipes = os.pipe()
    os.write(pipes[1], b"815")
    monkeypatch.setattr(os, "pipe", lambda: pipes)
    assert template._fork_worker(inherit(), Channel(None), {"index": 0, "slot": 0, "order": 0}, None, None) == 815


def test_the_process_between_hands_over_the_process_id(monkeypatch):
    forks = iter([0, 815])
    monkeypatch.setattr(os, "fork", lambda: next(forks))
    reader, writer = os.pipe()
    monkeypatch.setattr(os, "pipe", lambda: (reader, writer))
    with pytest.raises(Exited) as caught:
        template._fork_worker(inherit(), Channel(None), {"index": 0, "slot": 0, "order": 0}, None, None)
    assert caught.value.args == (0,)
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == b"815"


def test_the_grandchild_becomes_the_worker(monkeypatch):
    forks = iter([0, 0])
    became = []
    monkeypatch.setattr(os, "fork", lambda: next(forks))
    monkeypatch.setattr(template, "run_worker", lambda *arguments: (became.append(arguments[1:]), os._exit(0)))
    ours, theirs = Channel.pair()
    with pytest.raises(Exited):
        template._fork_worker(inherit(), theirs, {"index": 1, "slot": 2, "order": 3}, "app", None)
    assert became == [(1, 2, 3, "app", None)]
    assert ours.receive() is None
    ours.close()
