"""The process that imports the application once and forks workers from it.

It has no event loop and no thread of its own, so that a fork copies nothing that could be half-way through something.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from typing import NoReturn

from fastlane.supervisor.channel import Channel, shortened
from fastlane.supervisor.child import Inheritance, load_application, resolve, run_worker
from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.kernel import die_with_parent, set_title
from fastlane.supervisor.memory import MemoryFile
from fastlane.supervisor.privileges import drop_privileges

__all__ = ["run_template"]


def run_template(inheritance: Inheritance, channel: Channel) -> NoReturn:
    """Load, boot, say so, and fork a worker for each order, until the supervisor closes the channel."""
    code = 1
    try:
        code = _run(inheritance, channel)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # No exit handlers: what the application registered at import belongs to the workers that still live.
        os._exit(code)


def _run(inheritance: Inheritance, channel: Channel) -> int:
    settings = inheritance.settings
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_title(f"fastlane: template {inheritance.generation} of {settings.name}")
    # PERF: the recipe of gc.freeze's documentation. Collecting while importing finds little and takes a tenth of the
    # time; workers turn it on again.
    gc.disable()
    app: object | None = None
    try:
        drop_privileges(settings.user, settings.group)
        die_with_parent(inheritance.supervisor)
        if settings.preload:
            app = load_application(settings)
        else:
            resolve(settings.run)  # the server's own modules are shared all the same
    except BootFailure as error:
        channel.send({"failed": shortened(str(error)), "code": error.exit_code})
        return error.exit_code
    # PERF: without freeze the first collection in a worker touches, and thereby copies, every page of the application:
    # a 50 MB table then costs each worker 40 MB instead of 5 (measured).
    # A collection right before would cost 12 ms of each start, and leave holes that are copied, too.
    gc.freeze()
    report: MemoryFile | None = None
    # Without preload nobody knows before the boot process has loaded the application.
    if settings.boot is not None and (app is None or getattr(app, "boots", True)):
        from fastlane.supervisor.boot import boot  # here: most applications have nothing to boot

        try:
            report = boot(inheritance, channel, app)
        except BootFailure as error:
            channel.send({"failed": shortened(str(error)), "code": error.exit_code})
            return error.exit_code
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    channel.send({"loaded": True, "threads": threads})
    while True:
        order = channel.receive()
        if order is None:
            return 0
        pid = _fork_worker(inheritance, channel, order, app, report)
        channel.send({"forked": pid, "slot": order["slot"], "order": order["order"]})


def _fork_worker(
    inheritance: Inheritance, channel: Channel, order: dict[str, int], app: object | None, report: MemoryFile | None
) -> int:
    """A worker whose parent will be the supervisor: forked by a process that ends at once."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid:
            os.write(writer, str(pid).encode())
            os._exit(0)
        os.close(reader)
        os.close(writer)
        channel.close()
        run_worker(inheritance, order["index"], order["slot"], order["order"], app, report)
    os.close(writer)
    with open(reader, "rb") as pipe:
        pid = int(pipe.read())
    os.waitpid(between, 0)
    return pid
