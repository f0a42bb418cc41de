from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from fastlane.supervisor import kernel


def run(code: str) -> str:
    """The output of a process of its own, because what is tested can't be undone."""
    return subprocess.run(
        [sys.executable, "-c", f"import os, sys, time\nfrom fastlane.supervisor.kernel import *\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_orphans_are_adopted():
    code = (
        "adopt_orphans()\nme = os.getpid()\nreader, writer = os.pipe()\nif os.fork() == 0:\n"
        "    if os.fork() == 0:\n        while os.getppid() != me: time.sleep(0.001)\n"
        "        os.write(writer, b'adopted')\n    os._exit(0)\nprint(os.read(reader, 9))"
    )
    assert run(code) == "b'adopted'\n"


@pytest.mark.parametrize("drop", ["", "os.setgid(65534); os.setuid(65534)"])
def test_a_child_dies_with_its_parent_also_after_giving_up_root(drop):
    if drop and os.getuid():
        pytest.skip("needs root")
    code = (
        f"import ctypes\n{drop}\n"
        "reader, writer = os.pipe()\ntold, tell = os.pipe()\n"
        "if os.fork() == 0:\n    parent = os.getpid()\n    if os.fork() == 0:\n"
        "        die_with_parent(parent)\n        os.write(writer, b'alive')\n        os.write(tell, b'.')\n"
        "        time.sleep(60)\n    os.read(told, 1)\n    os._exit(0)\n"
        "os.close(writer)\nprint(os.read(reader, 9), os.read(reader, 9))"
    )
    assert run(code) == "b'alive' b''\n"


def test_a_child_whose_parent_is_gone_already_ends():
    assert run("print('before', flush=True)\ndie_with_parent(-1)\nprint('after')") == "before\n"


def test_a_title_shows_in_ps():
    assert "fastlane: X" in run("set_title('fastlane: X')\nprint(open('/proc/self/cmdline').read())")


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(kernel, "can_adopt", False)
    before = os.getppid()
    kernel.adopt_orphans()
    kernel.die_with_parent(-1)
    kernel.set_title("nothing")
    assert os.getppid() == before


def test_prctl_errors_are_raised():
    with pytest.raises(OSError, match="prctl"):
        kernel._prctl(-1, 0)


def test_the_descriptor_limit_is_raised_to_the_hard_one(monkeypatch):
    limits = [(10, 20)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    assert kernel.raise_descriptor_limit() == 20
    assert limits[-1] == (20, 20)
    assert kernel.raise_descriptor_limit() == 20


def test_a_descriptor_limit_that_can_not_be_raised_stays(monkeypatch):
    def refuse(*_):
        raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 20))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert kernel.raise_descriptor_limit() == 10


def test_the_state_and_the_memory_of_a_process_are_read():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    assert kernel.run_state(child.pid) == "T"
    assert kernel.resident_memory(child.pid) > 10_000
    child.kill()
    child.wait()
    child.stdin.close()
    assert kernel.run_state(child.pid) == ""
    assert kernel.resident_memory(child.pid) == 0
