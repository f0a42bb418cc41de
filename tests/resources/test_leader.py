from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from fastlane.resources.leader import Leader


def test_one_leads_and_the_next_after_it(tmp_path):
    one, two = Leader(tmp_path / "lock"), Leader(str(tmp_path / "lock"))
    assert one.try_hold()
    assert one.try_hold()
    assert not two.try_hold()
    assert repr(one).endswith("held>")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    one.release()
    one.release()
    assert not repr(one).endswith("held>")
    with two:
        assert two.try_hold()
    assert one.try_hold()
    one.release()


def test_waiting_ends_when_the_leader_goes(tmp_path):
    async def main():
        one, two = Leader(tmp_path / "lock"), Leader(tmp_path / "lock")
        assert one.try_hold()
        waiting = asyncio.ensure_future(two.hold(poll=0.01))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        one.release()
        async with asyncio.timeout(5):
            await waiting
        assert not one.try_hold()
        two.release()

    asyncio.run(main())


def test_a_lock_file_that_was_deleted_is_led_by_nobody(tmp_path):
    one, two = Leader(tmp_path / "lock"), Leader(tmp_path / "lock")
    assert one.try_hold()
    (tmp_path / "lock").unlink()
    assert two.try_hold()
    assert not one.try_hold()
    two.release()
    assert one.try_hold()
    one.release()


def test_a_place_where_no_file_can_be_made_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Leader(tmp_path / "no" / "lock").try_hold()


def test_a_process_that_is_killed_leads_no_more(tmp_path):
    code = f"""
from fastlane.resources.leader import Leader
leader = Leader({str(tmp_path / "lock")!r})
print(leader.try_hold(), flush=True)
input()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"True\n"
    leader = Leader(tmp_path / "lock")
    assert not leader.try_hold()
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdin.close()
    child.stdout.close()
    assert leader.try_hold()
    leader.release()


def test_a_forked_child_does_not_lead_on_after_its_parent(tmp_path):
    # The parent leads, forks, and dies; the child stays, and must hold nothing.
    code = f"""
import os, sys, time
from fastlane.resources.leader import Leader
leader = Leader({str(tmp_path / "lock")!r})
assert leader.try_hold()
if os.fork():
    os.kill(os.getpid(), 9)
print("child", flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"child\n"
    parent.wait(10)
    leader = Leader(tmp_path / "lock")
    assert leader.try_hold()
    leader.release()
    parent.stdin.close()
    assert parent.stdout.read() == b""  # the child has ended, too
    parent.stdout.close()
