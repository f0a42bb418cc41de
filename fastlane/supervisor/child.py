"""What a forked worker does before and after the server that it is for."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import importlib
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from fastlane.supervisor.channel import Mailbox, shortened
from fastlane.supervisor.failure import BootFailure, exit_code_of
from fastlane.supervisor.kernel import can_adopt, die_with_parent, set_title
from fastlane.supervisor.listeners import Listener
from fastlane.supervisor.memory import MemoryFile
from fastlane.supervisor.scoreboard import DRAINING, READY, Scoreboard, Slot
from fastlane.supervisor.settings import Settings

__all__ = ["STACK_SIGNAL", "Inheritance", "WorkerContext", "finish", "load_application", "resolve", "run_worker"]

STACK_SIGNAL = signal.SIGUSR2
"""A worker that gets it writes the Python stacks of its threads to the supervisor, even while its loop is blocked."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What the supervisor leaves to a template, and the template to its workers.

    Attributes:
        stacks: the descriptor to which stacks are written.
        lifeline: a pipe's end at which "end of file" says that the supervisor is gone. Nobody else has the other end.
        supervisor: its process id.
    """

    settings: Settings
    generation: int
    board: Scoreboard
    listeners: list[Listener]
    mailbox: Mailbox
    stacks: int
    lifeline: int
    supervisor: int


class WorkerContext:
    """What ``Settings.run`` gets beside the application.

    Attributes:
        listeners: accept from them; close them when draining.
        slot: this worker's line on the scoreboard: ``beat`` at least once a second, from the event loop.
        index: 0 to workers - 1; a successor has its predecessor's.
        generation: 1 at the start, one more with each reload.
        settings: the supervisor's own options.
        lifeline: readable when the supervisor is gone; end at once then. Linux kills the worker anyway.
        report: what ``Settings.boot`` returned; empty where there was nothing to boot.
    """

    __slots__ = ("_mailbox", "generation", "index", "lifeline", "listeners", "report", "settings", "slot")

    def __init__(self, inheritance: Inheritance, index: int, slot: Slot, report: bytes = b"") -> None:
        self.listeners = inheritance.listeners
        self.slot = slot
        self.index = index
        self.generation = inheritance.generation
        self.settings = inheritance.settings
        self.lifeline = inheritance.lifeline
        self.report = report
        self._mailbox = inheritance.mailbox

    @property
    def options(self) -> Mapping[str, object]:
        """What `Settings.options` holds for ``load`` and ``run``."""
        return self.settings.options

    @property
    def stopping(self) -> bool:
        """All workers end: nobody of them accepts any more, and `Settings.drain_delay` applies."""
        return self.slot.board.stopping

    @property
    def has_predecessor(self) -> bool:
        """A worker that this one is to replace has not begun to drain, or is not done with its work."""
        return self.slot.has_predecessor()

    def working(self, value: bool) -> None:
        """Work beside requests begins, or is done: a worker that replaces this one begins with its own then."""
        self.slot.works = value

    @property
    def shared(self) -> bool:
        """Somebody outside this server accepts from the same sockets: their queue is not this server's to empty."""
        return self.slot.board.shared

    def ready(self) -> None:
        """Start-up is over and connections are accepted."""
        self.slot.state = READY
        self._mailbox.send({"slot": self.slot.number, "ready": True})

    def draining(self) -> None:
        """No more connections from now on; what is open is finished."""
        self.slot.state = DRAINING
        self._mailbox.send({"slot": self.slot.number, "draining": True})

    def failed(self, text: str, exit_code: int) -> None:
        """Why this worker ends; the supervisor logs it."""
        self._mailbox.send({"slot": self.slot.number, "failed": shortened(text), "code": exit_code})


def resolve(name: str) -> Callable[..., Any]:
    """The function that ``module:function`` names."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def run_worker(
    inheritance: Inheritance,
    index: int,
    slot_number: int,
    order: int,
    app: object | None,
    report: MemoryFile | None = None,
) -> NoReturn:
    """Serve in this freshly forked process, and end it.

    Args:
        app: what ``load`` returned; None where each worker loads its own.
        report: of the boot process, if there was one.
    """
    code = 1
    try:
        slot = inheritance.board.slot(slot_number)
        slot.index = index
        if not slot.begin(os.getpid(), inheritance.generation, order):
            os._exit(0)
        _settle(inheritance, index)
        context = WorkerContext(inheritance, index, slot, b"" if report is None else report.read())
        code = _serve(context, app)
    finally:
        # Not sys.exit: threads of plain `def` handlers that are stuck would hold the process for ever.
        finish(code)


def _settle(inheritance: Inheritance, index: int) -> None:
    """Take the supervisor as parent, and bind this life to its."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the whole group; the supervisor decides
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until the server has one of its own: nothing to drain
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    faulthandler.register(STACK_SIGNAL, file=inheritance.stacks, all_threads=True)
    if can_adopt:
        # The process between the template and this one has ended, or is about to. A parent-death signal that was set
        # before would be about that one.
        while os.getppid() != inheritance.supervisor:
            if os.getppid() == 1 and inheritance.supervisor != 1:
                os._exit(0)  # the supervisor is gone: init adopted this process
            time.sleep(0.0005)
        die_with_parent(inheritance.supervisor)
    set_title(f"fastlane: worker {index} of {inheritance.settings.name}")
    gc.enable()


def _serve(context: WorkerContext, app: object | None) -> int:
    settings = context.settings
    try:
        if app is None:
            app = load_application(settings)
        code = resolve(settings.run)(app, context)
        return code if isinstance(code, int) else 0
    except BootFailure as error:
        context.failed(str(error), error.exit_code)
        return error.exit_code
    except SystemExit as error:
        text = f"the worker was ended by sys.exit({error.code!r})"
        context.failed(f"{text}\n{''.join(traceback.format_exception(error)).rstrip()}", 3)
        return 3
    except BaseException as error:
        context.failed("".join(traceback.format_exception(error)).rstrip(), exit_code_of(error, 3))
        return exit_code_of(error, 3)


def load_application(settings: Settings) -> object:
    """Call ``Settings.load``; whatever goes wrong comes out as a `BootFailure`."""
    try:
        app: object = resolve(settings.load)(settings.options)
    except BootFailure:
        raise
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception(error)).rstrip()
        raise BootFailure(f"can't load {settings.name}\n{text}", exit_code_of(error, 4)) from error
    return app


def _end_process_pools() -> None:
    """As an interpreter does before its exit handlers, of which multiprocessing's waits for every child: those of a
    ``ProcessPoolExecutor`` that nobody shut down wait for work. Threads are not waited for: those may never end."""
    pools = sys.modules.get("concurrent.futures.process")
    if pools is not None:
        pools._python_exit()


def finish(code: int) -> NoReturn:
    """Run the exit handlers, flush, and end."""
    try:
        _end_process_pools()
        atexit._run_exitfuncs()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
