from __future__ import annotations

import subprocess
import sys

from fastlane.resources.lock import MachineLock


def test_a_forked_child_does_not_hold_it_on(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path))
    code = """
import os, sys
from fastlane.resources.lock import MachineLock
lock = MachineLock("one")
assert lock.try_acquire()
if os.fork():
    lock.release()
    print("released", flush=True)
    os._exit(0)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"released\n"
        parent.wait()
        lock = MachineLock("one")
        assert lock.try_acquire()
        assert not MachineLock("one").try_acquire()
        lock.release()
        assert not lock.is_held
