from __future__ import annotations

import subprocess
import sys

import pytest

from fastlane.resources.lock import MachineLock


@pytest.mark.parametrize(
    "does",
    [
        "lock.release()",  # whatever the child has done until then
        "ready.wait(); os.kill(os.getpid(), 9)",
    ],
)
def test_a_forked_child_does_not_hold_it_on(tmp_path, monkeypatch, does):
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path))
    code = f"""
import multiprocessing, os, sys
from fastlane.resources.lock import MachineLock
lock = MachineLock("one")
assert lock.try_acquire()
ready = multiprocessing.get_context("fork").Event()
if os.fork():
    {does}
    os._exit(0)
ready.set()
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        assert parent.wait() in (0, -9)  # the child stays until its input ends
        lock = MachineLock("one")
        assert lock.try_acquire()
        assert not MachineLock("one").try_acquire()
        lock.release()
        assert not lock.is_held
