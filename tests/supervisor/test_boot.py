"""The boot process, really forked."""

from __future__ import annotations

import os
import signal

import pytest

from fastlane.supervisor import boot as boot_module
from fastlane.supervisor.boot import boot
from fastlane.supervisor.channel import Channel, Mailbox
from fastlane.supervisor.child import Inheritance
from fastlane.supervisor.failure import BootFailure
from fastlane.supervisor.scoreboard import Scoreboard
from fastlane.supervisor.settings import Settings

# Threads that other tests have left, or that are just ending, are nothing to this: Python warns of a fork beside them.
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class App:
    def __init__(self, boots: bool = True) -> None:
        self.boots = boots


def load(options):
    if options.get("broken"):
        raise RuntimeError("no such module")
    return App(options.get("boots", True))


def prepares(app, context):
    context.extend("waiting for another")
    return f"{context.options['word']} of generation {context.generation}".encode()


def refuses(app, context):
    raise BootFailure("fastlane.toml: there is no provider", 2)


def breaks(app, context):
    raise ValueError("what is this")


def dies(app, context):
    os.kill(os.getpid(), signal.SIGKILL)


def exits(app, context):
    os._exit(2)


class Ran:
    def __init__(self, function, app: object | None = None, **options) -> None:
        settings = Settings(
            load=f"{__name__}:load", boot=f"{__name__}:{function}", run="x:x", options=options, name="blog:app"
        )
        ours, theirs = Channel.pair()
        mailbox = Mailbox()
        lifeline = os.pipe()
        self.report: bytes | None = None
        self.failure: BootFailure | None = None
        try:
            file = boot(Inheritance(settings, 3, Scoreboard(1), [], mailbox, 2, lifeline[0], os.getppid()), theirs, app)
            self.report = file.read()
            file.close()
        except BootFailure as failure:
            self.failure = failure
        theirs.close()
        self.said = [message["booting"] for message in ours.received() if message is not None]
        ours.close()
        mailbox.close()
        for end in lifeline:
            os.close(end)


def test_the_report_is_what_the_function_returns():
    ran = Ran("prepares", App(), word="addresses")
    assert ran.report == b"addresses of generation 3"
    assert ran.said == ["starting", "waiting for another"]


def test_without_preload_it_loads_the_application_itself():
    assert Ran("prepares", word="secrets").report == b"secrets of generation 3"
    assert Ran("breaks", boots=False).report == b""


@pytest.mark.parametrize(
    ("function", "app", "code", "text"),
    [
        ("refuses", App(), 2, "fastlane.toml: there is no provider"),
        ("breaks", App(), 3, "ValueError: what is this"),
        ("dies", App(), 3, "ended with SIGKILL and said nothing"),
        ("exits", App(), 3, "ended with exit code 2 and said nothing"),
        ("prepares", None, 4, "can't load blog:app"),
    ],
)
def test_a_failure_has_a_text_and_a_code(function, app, code, text):
    failure = Ran(function, app, broken=True).failure
    assert failure is not None
    assert failure.exit_code == code
    assert text in str(failure)


def test_where_the_kernel_ends_no_orphans_a_thread_watches_the_template(monkeypatch):
    monkeypatch.setattr(boot_module, "can_adopt", False)
    assert Ran("prepares", App(), word="addresses").report == b"addresses of generation 3"
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    one, other = os.pipe(), os.pipe()
    os.close(other[1])
    boot_module._end_with(one[0], other[0])
    assert ended == [0]
    for end in (*one, other[0]):
        os.close(end)
