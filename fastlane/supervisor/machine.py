"""The operating system as the supervisor sees it: every call in one place, so that tests hand in another."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from fastlane.supervisor.channel import Channel, Mailbox
from fastlane.supervisor.child import STACK_SIGNAL, Inheritance
from fastlane.supervisor.kernel import adopt_orphans, can_adopt, resident_memory, run_state
from fastlane.supervisor.listeners import Listener
from fastlane.supervisor.pid_file import PidFile
from fastlane.supervisor.responder import Asked, Responder
from fastlane.supervisor.scoreboard import Scoreboard
from fastlane.supervisor.settings import Settings
from fastlane.supervisor.succession import start_successor
from fastlane.supervisor.systemd import Notifier
from fastlane.supervisor.template import run_template

__all__ = ["HANDLED", "Died", "Event", "Machine", "Mailed", "Signalled", "System", "TemplateSaid"]

HANDLED = tuple(
    getattr(signal, f"SIG{name}") for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH")
)
"""The signals that the supervisor acts on, beside SIGCHLD."""


_TEMPLATE_END_SECONDS = 0.2
"""A killed template takes some milliseconds, longer only if the machine is in trouble."""


class Signalled(NamedTuple):
    """The supervisor got a signal."""

    number: int


class Mailed(NamedTuple):
    """A worker wrote: it is ready, drains, or failed and says why."""

    slot: int
    message: dict[str, Any]


class TemplateSaid(NamedTuple):
    """A template wrote: it has loaded, failed, or forked a worker."""

    generation: int
    message: dict[str, Any]


class Died(NamedTuple):
    """A child ended; ``status`` is the exit code, or minus the signal, or None where that can't be known."""

    pid: int
    status: int | None


Event = Signalled | Mailed | TemplateSaid | Died | Asked


@dataclass(slots=True)
class _Template:
    pid: int
    channel: Channel
    is_open: bool = True
    is_alive: bool = True


class System(Protocol):
    """What the supervisor needs of the world."""

    def now(self) -> float: ...
    def wait(self, seconds: float, workers: Iterable[int]) -> list[Event]: ...
    def start_template(self, generation: int, settings: Settings) -> int: ...
    def order_worker(self, generation: int, index: int, slot: int, order: int) -> None: ...
    def end_template(self, generation: int) -> None: ...
    def kill(self, pid: int, number: int) -> None: ...
    def ask_stack(self, pid: int) -> None: ...
    def stack(self) -> str: ...
    def run_state(self, pid: int) -> str: ...
    def resident_memory(self, pid: int) -> int: ...
    def stop_listening(self) -> None: ...
    def shares_sockets(self) -> bool: ...
    def start_successor(self) -> int | None: ...
    def tell(self, *assignments: str) -> None: ...


class Machine:
    """The real one. It takes over the signals of the process; `close` gives them back.

    Args:
        predecessor: the supervisor that started this one, if one did.
        notifier: systemd, or nobody.
        pid_file: promoted when the predecessor is gone, removed at the end.
        responder: attended to, and ended at the end.
    """

    def __init__(
        self,
        listeners: list[Listener],
        board: Scoreboard,
        predecessor: int | None = None,
        notifier: Notifier | None = None,
        pid_file: PidFile | None = None,
        responder: Responder | None = None,
    ) -> None:
        self._listeners = listeners
        self._board = board
        self._predecessor = predecessor
        self._successor: int | None = None
        self._notifier = notifier or Notifier({}, 0)
        self._pid_file = pid_file
        self._responder = responder or Responder(self.now)
        self._mailbox = Mailbox()
        self._templates: dict[int, _Template] = {}
        self._unreaped: set[int] = set()
        self._stacks = os.pipe()
        self._lifeline = os.pipe()
        self._signals, self._wakeup = socket.socketpair()
        for end in (self._signals, self._wakeup):
            end.setblocking(False)
        os.set_blocking(self._stacks[0], False)
        adopt_orphans()
        self._before: dict[int, Any] = {
            number: signal.signal(number, lambda *_: None) for number in (*HANDLED, signal.SIGCHLD)
        }
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._poll = select.poll()
        for source in (self._signals, self._mailbox):
            self._poll.register(source.fileno(), select.POLLIN)
        self._responder.begin(self._poll)

    def now(self) -> float:
        """Seconds of the clock that the heartbeats are written with."""
        return time.monotonic()

    def wait(self, seconds: float, workers: Iterable[int]) -> list[Event]:
        """Wait for something to happen, but no longer than ``seconds``.

        Deaths are looked for first and told last: whatever a process wrote before it died comes before its death.
        """
        self._notifier.keep_alive(self.now())
        if self._pid_file is not None:
            self._pid_file.promote()
        self._poll.poll(max(0.0, min(seconds, self._notifier.watchdog_seconds)) * 1000)
        deaths = self._deaths(workers)
        events: list[Event] = [Signalled(number) for number in self._signals_received()]
        events += [Mailed(message["slot"], message) for message in self._mailbox.received()]
        events += self._responder.attend()
        for generation, template in self._templates.items():
            for message in template.channel.received():
                if message is not None:
                    events.append(TemplateSaid(generation, message))
                elif template.is_open:  # its death follows; the end of the stream would wake this loop for ever
                    self._poll.unregister(template.channel.fileno())
                    template.is_open = False
        return events + deaths

    def _signals_received(self) -> list[int]:
        try:
            return [number for number in self._signals.recv(4096) if number != signal.SIGCHLD]
        except BlockingIOError:
            return []

    def _deaths(self, workers: Iterable[int]) -> list[Event]:
        deaths: list[Event] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            deaths.append(Died(pid, os.waitstatus_to_exitcode(status)))
            self._unreaped.discard(pid)
            if pid == self._successor:
                self._successor = None
            for template in self._templates.values():
                if template.pid == pid:
                    template.is_alive = False  # its number may be somebody else's from now on
        if not can_adopt:  # the workers are init's children
            deaths += [Died(pid, None) for pid in workers if not _exists(pid)]
        return deaths

    def start_template(self, generation: int, settings: Settings) -> int:
        """Fork a template; it begins to import at once. Returns its process id."""
        ours, theirs = Channel.pair()
        inheritance = Inheritance(
            settings=settings,
            generation=generation,
            board=self._board,
            listeners=self._listeners,
            mailbox=self._mailbox,
            stacks=self._stacks[1],
            lifeline=self._lifeline[0],
            supervisor=os.getpid(),
        )
        pid = os.fork()
        if pid == 0:
            self._forget(ours)
            run_template(inheritance, theirs)
        theirs.close()
        self._templates[generation] = _Template(pid, ours)
        self._unreaped.add(pid)
        self._poll.register(ours.fileno(), select.POLLIN)
        return pid

    def _forget(self, channel: Channel) -> None:
        """In the child: close what is the supervisor's alone. An end that stays open here would hide its death."""
        signal.set_wakeup_fd(-1)
        for number in (*HANDLED, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        channel.close()
        for other in self._templates.values():
            other.channel.close()
        self._mailbox.close_receiver()
        self._responder.close()
        self._signals.close()
        self._wakeup.close()
        os.close(self._stacks[0])
        os.close(self._lifeline[1])

    def order_worker(self, generation: int, index: int, slot: int, order: int) -> None:
        """Let the template of ``generation`` fork a worker; it answers with the process id."""
        self._templates[generation].channel.send({"index": index, "slot": slot, "order": order})

    def end_template(self, generation: int) -> None:
        """End a template, whatever it does. Its workers live on."""
        template = self._templates.pop(generation)
        if template.is_open:
            self._poll.unregister(template.channel.fileno())
        template.channel.close()
        if template.is_alive:
            self.kill(template.pid, signal.SIGKILL)

    def kill(self, pid: int, number: int) -> None:
        """Send a signal; a process that is gone is no error."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def ask_stack(self, pid: int) -> None:
        """Let a worker write its stacks; `stack` has them a moment later."""
        self.stack()
        self.kill(pid, STACK_SIGNAL)

    def stack(self) -> str:
        """What has been written since `ask_stack`."""
        text = b""
        try:
            while piece := os.read(self._stacks[0], 65536):
                text += piece
        except BlockingIOError:
            pass
        return text.decode(errors="replace").strip()

    def run_state(self, pid: int) -> str:
        return run_state(pid)

    def resident_memory(self, pid: int) -> int:
        return resident_memory(pid)

    def stop_listening(self) -> None:
        """Close this process's copies of the listeners, and see that ended templates have: the workers' are the last.

        A template that is still being taken apart would be the last, and what arrives in its queue would be reset.
        """
        for listener in self._listeners:
            listener.close()
        end = self.now() + _TEMPLATE_END_SECONDS
        while self._unreaped and self.now() < end:
            self._unreaped -= {pid for pid in self._unreaped if os.waitpid(pid, os.WNOHANG)[0]}
            time.sleep(0.0005)

    def shares_sockets(self) -> bool:
        """Whether somebody outside this process tree accepts from the listeners, too."""
        if self._successor is not None:
            return True
        if self._predecessor is not None:
            return _exists(self._predecessor)
        return any(listener.inherited for listener in self._listeners)

    def start_successor(self) -> int | None:
        """Start another supervisor beside this one; None as process 1, whose end would end it, too."""
        if os.getpid() == 1:
            return None
        self._successor = start_successor(self._listeners)
        return self._successor

    def tell(self, *assignments: str) -> None:
        """Tell systemd."""
        self._notifier.tell(*assignments)

    def close(self) -> None:
        """End all templates, close everything, and restore the signals."""
        for generation in list(self._templates):
            self.end_template(generation)
        self.stop_listening()
        for pid in self._unreaped:
            os.waitpid(pid, 0)  # they were killed, and leave no zombie to an init that reaps none
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if not self.shares_sockets():
            for listener in self._listeners:
                listener.remove()
        self._responder.end()
        if self._pid_file is not None:
            self._pid_file.remove()
        self._signals.close()
        self._wakeup.close()
        self._mailbox.close()
        for descriptor in (*self._stacks, *self._lifeline):
            os.close(descriptor)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
