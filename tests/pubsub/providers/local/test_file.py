from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerUnavailable
from fastlane.pubsub.providers.local import DamagedFile, LocalProvider
from fastlane.pubsub.providers.local import store as store_module
from fastlane.pubsub.providers.local.faults import translated
from fastlane.pubsub.providers.local.filesystem import kind_of_filesystem, refuse_network_filesystem
from fastlane.pubsub.providers.local.schema import refuse_old_sqlite
from fastlane.pubsub.providers.local.store import Store, StoreOptions
from fastlane.resources.configuration import LocalOptions
from tests.pubsub.providers.local.rig import TOPIC, bound, gathered, opened, outgoing, payloads, rigged

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv/shared\\040files rw - nfs4 server:/export rw
31 22 0:41 / /srv rw - 9p share rw
32 31 0:42 / /srv/local rw - tmpfs tmpfs rw
33 22 0:43 / /home/me/remote rw - fuse.sshfs me@there:/ rw
34 22 0:44 / /containers rw - fuse.fuse-overlayfs overlay rw
35 22 0:45 / /twice rw - cifs //server/share rw
36 35 0:46 / /twice rw - xfs /dev/vdb rw
short line
37 22 0:47 / /srvx rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "ext4"),
        ("/srv", "9p"),
        ("/srvx/a", "ext4"),
        ("/srv/local/a", "tmpfs"),
        ("/srv/shared files/a", "9p"),
        ("/twice/a", "xfs"),
    ],
)
def test_the_kind_of_a_file_system_is_that_of_the_last_mount_above(path, kind):
    mounts = MOUNTS if path != "/srv/shared files/a" else MOUNTS.replace("shared\\040files", "shared\\040other")
    assert kind_of_filesystem(Path(path), mounts) == kind


def test_a_mount_point_with_a_space_is_found():
    assert kind_of_filesystem(Path("/srv/shared files/a"), MOUNTS) == "nfs4"


@given(st.text())
def test_no_table_of_mounts_breaks_it(text):
    assert isinstance(kind_of_filesystem(Path("/some/path"), text), str)


def test_a_file_on_a_network_is_refused_with_the_mend(tmp_path):
    mounts = tmp_path / "mountinfo"
    for kind in ("nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "fuse.glusterfs"):
        mounts.write_text(f"22 1 254:0 / / rw - {kind} device rw\n")
        with pytest.raises(ConfigurationError, match=rf"{kind} file system[\s\S]*mend: set `path`"):
            refuse_network_filesystem(tmp_path, mounts)
    for kind in ("ext4", "overlay", "fuse.fuse-overlayfs", "tmpfs"):
        mounts.write_text(f"22 1 254:0 / / rw - {kind} device rw\n")
        refuse_network_filesystem(tmp_path, mounts)
    refuse_network_filesystem(tmp_path, tmp_path / "no such file")


def test_an_old_sqlite_is_refused():
    with pytest.raises(ConfigurationError, match=r"needs SQLite 3\.37\.0 or newer, and this Python has 3\.36\.0"):
        refuse_old_sqlite((3, 36, 0))


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "pubsub.db"
    with opened(path) as store:
        store.one("PRAGMA user_version = 2")
    with pytest.raises(ConfigurationError, match=r"newer fastlane \(version 2"), opened(path):
        pass


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "pubsub.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(DamagedFile, match="not one of the local broker"), opened(path):
        pass


@pytest.mark.parametrize("content", [b"no database at all, but text" * 100, None])
def test_a_damaged_file_stops_the_boot_with_a_mend(tmp_path, content):
    path = tmp_path / "pubsub.db"
    if content is None:
        with opened(path):
            pass
        content = path.read_bytes()
        content = content[:100] + b"\x55" * (len(content) - 100)
    path.write_bytes(content)

    async def main():
        async with rigged(tmp_path) as rig:
            with pytest.raises(ConfigurationError, match=r"damaged one[\s\S]*mend: move it away"):
                await (await rig.administrator()).provision([TOPIC], [bound()])
            with pytest.raises(ConfigurationError):
                await rig.source()

    asyncio.run(main())


def test_messages_are_nobody_elses_business(tmp_path):
    async def main():
        async with rigged(tmp_path / "made") as rig:
            await rig.source()
            for file in rig.path.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file

    umask = os.umask(0o022)
    try:
        asyncio.run(main())
    finally:
        os.umask(umask)


def test_without_a_path_the_file_is_in_the_state_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "state"))

    async def main():
        provider = LocalProvider("local", LocalOptions())
        administrator = await provider.open_administrator()
        await administrator.provision([TOPIC], [])
        await administrator.close()

    asyncio.run(main())
    assert (tmp_path / "state" / "pubsub.db").exists()


def test_messages_outlive_all_processes_and_the_wal_is_gone_after_the_last(tmp_path):
    async def publish():
        async with rigged(tmp_path) as rig:
            await (await rig.administrator()).provision([TOPIC], [bound()])
            await (await rig.publisher()).publish(TOPIC, [outgoing(b"kept")])

    async def consume():
        async with rigged(tmp_path) as rig:
            assert payloads(await gathered(await rig.source(), 1)) == [b"kept"]

    asyncio.run(publish())
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(("-wal", "-shm"))]
    asyncio.run(consume())


def test_a_file_that_was_deleted_while_it_was_open_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "LOOK_EVERY", 0.0)

    async def main():
        async with rigged(tmp_path) as rig:
            publisher = await rig.publisher()
            await publisher.publish(TOPIC, [outgoing()])
            for file in tmp_path.glob("pubsub.db*"):
                if file.is_file():
                    file.unlink()
            with pytest.raises(BrokerUnavailable, match="deleted or replaced"):
                await publisher.publish(TOPIC, [outgoing()])

    asyncio.run(main())


def test_a_directory_that_can_not_be_made_is_unavailable_not_an_error_of_the_boot(tmp_path):
    (tmp_path / "file").write_text("")

    async def main():
        provider = LocalProvider("local", LocalOptions(path=str(tmp_path / "file" / "pubsub.db")))
        publisher = await provider.open_publisher()
        with pytest.raises(BrokerUnavailable, match="can't be made"):
            await publisher.publish(TOPIC, [outgoing()])
        await publisher.close()

    asyncio.run(main())


def test_a_path_that_can_not_be_opened_is_unavailable(tmp_path):
    (tmp_path / "pubsub.db").symlink_to(tmp_path / "not mounted" / "pubsub.db")
    with pytest.raises(BrokerUnavailable, match="unable to open"), opened(tmp_path / "pubsub.db"):
        pass


def test_what_is_no_fault_of_the_file_stays_what_it_is():
    error = sqlite3.IntegrityError("wrong")
    assert translated(error, "file") is error
    programming = sqlite3.OperationalError("no such table")
    assert translated(programming, "file") is programming


def test_a_path_that_is_a_directory_is_refused_with_its_mend(tmp_path):
    with pytest.raises(ConfigurationError, match=r"is a directory: .*\n    mend: set `path`"), opened(tmp_path):
        pass


def test_a_new_file_is_not_opened_by_another_thread_as_long_as_it_is_being_made(tmp_path, monkeypatch):
    # To close the descriptor that has made it drops all locks that SQLite holds on the file in this process.
    opened_by_other = threading.Event()
    options = StoreOptions(path=str(tmp_path / "pubsub.db"), full=True, max_bytes=1 << 30, retention=60.0)
    close = os.close

    def other():
        store = Store(options)
        opened_by_other.set()
        store.close()

    thread = threading.Thread(target=other)

    def slowly(descriptor):
        if thread.ident is None:
            thread.start()
            assert not opened_by_other.wait(0.3)
        close(descriptor)

    monkeypatch.setattr(os, "close", slowly)
    Store(options).close()
    monkeypatch.undo()
    thread.join()
    assert opened_by_other.is_set()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_may_make_a_file_though_a_thread_of_its_parent_was_making_one(tmp_path):
    options = StoreOptions(path=str(tmp_path / "pubsub.db"), full=True, max_bytes=1 << 30, retention=60.0)
    with store_module._making:
        child = os.fork()
        if child == 0:
            try:
                Store(options).close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
