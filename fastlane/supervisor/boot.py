"""The boot process: a short-lived child of the template that does what has to be done once before workers start.

It is forked after the application is loaded and before any worker, and leaves a report to them. It dies with the
template, whatever happens, so that the supervisor ends both by ending one.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import threading
import traceback
from collections.abc import Mapping
from typing import NoReturn

from fastlane.supervisor.channel import Channel, shortened
from fastlane.supervisor.child import Inheritance, finish, load_application, resolve
from fastlane.supervisor.failure import BootFailure, exit_code_of
from fastlane.supervisor.kernel import can_adopt, die_with_parent, set_title
from fastlane.supervisor.memory import MemoryFile
from fastlane.supervisor.settings import Settings

__all__ = ["BootContext", "boot"]

_DONE = b"+"
_FAILED = b"-"


class BootContext:
    """What ``Settings.boot`` gets beside the application.

    Attributes:
        settings: the supervisor's own options.
        generation: 1 at the start, one more with each reload.
    """

    __slots__ = ("_channel", "generation", "settings")

    def __init__(self, settings: Settings, generation: int, channel: Channel) -> None:
        self.settings = settings
        self.generation = generation
        self._channel = channel

    @property
    def options(self) -> Mapping[str, object]:
        """What `Settings.options` holds for ``load``, ``boot`` and ``run``."""
        return self.settings.options

    def extend(self, doing: str) -> None:
        """Let ``--boot-timeout`` start anew, because something else is done from now on, or is rightly waited for.

        Args:
            doing: what, as in "it was {doing}"; for whoever reads that it took too long.
        """
        self._channel.send({"booting": shortened(doing, 1000)})


def boot(inheritance: Inheritance, channel: Channel, app: object | None) -> MemoryFile:
    """Run ``Settings.boot`` in a child of this process, and wait for its report.

    Args:
        channel: to the supervisor, which is told at each step how far the child is.
        app: what ``load`` returned; None where each process loads its own.

    Raises:
        BootFailure: the child failed, or died.
    """
    settings = inheritance.settings
    report = MemoryFile("fastlane-boot")
    channel.send({"booting": "starting"})
    tether = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(tether[1])
        _run_child(inheritance, channel, app, report, tether[0])
    os.close(tether[0])
    try:
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(tether[1])
    outcome = report.read()
    if outcome[:1] == _DONE:
        report.write(outcome[1:])
        return report
    report.close()
    if outcome[:1] == _FAILED:
        failure = json.loads(outcome[1:])
        raise BootFailure(failure["text"], failure["code"])
    code = os.waitstatus_to_exitcode(status)
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    raise BootFailure(f"{settings.name}: the boot process (pid {pid}) ended with {how} and said nothing")


def _run_child(
    inheritance: Inheritance, channel: Channel, app: object | None, report: MemoryFile, tether: int
) -> NoReturn:
    code = 3
    try:
        template = os.getppid()
        die_with_parent(template)
        if not can_adopt:  # elsewhere the kernel ends it
            threading.Thread(target=_end_with, args=(tether, inheritance.lifeline), daemon=True).start()
        set_title(f"fastlane: boot process {inheritance.generation} of {inheritance.settings.name}")
        gc.enable()
        outcome, code = _outcome(inheritance, channel, app)
        report.write(outcome)
    finally:
        finish(code)


def _outcome(inheritance: Inheritance, channel: Channel, app: object | None) -> tuple[bytes, int]:
    settings = inheritance.settings
    assert settings.boot is not None
    try:
        if app is None:
            app = load_application(settings)
        if not getattr(app, "boots", True):
            return _DONE, 0
        context = BootContext(settings, inheritance.generation, channel)
        report: bytes = resolve(settings.boot)(app, context)
        return _DONE + report, 0
    except BootFailure as error:
        return _failed(str(error), error.exit_code)
    except BaseException as error:
        return _failed("".join(traceback.format_exception(error)).rstrip(), exit_code_of(error, 3))


def _failed(text: str, code: int) -> tuple[bytes, int]:
    return _FAILED + json.dumps({"text": shortened(text), "code": code}).encode(), code


def _end_with(*descriptors: int) -> None:
    """End this process when one of the pipes does: the template is gone, or the supervisor."""
    select.select(descriptors, (), ())
    os._exit(0)
