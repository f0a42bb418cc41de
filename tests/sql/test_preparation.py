"""Databases at boot: reached, migrated or checked, refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.pubsub import Topic
from fastlane.resources.configuration import DatabaseOptions, PostgresOptions, ResourceConfiguration, SqlOptions
from fastlane.resources.surroundings import Surroundings
from fastlane.sql import Database
from fastlane.sql.migrations.ledger import Applied, Ledger
from fastlane.sql.preparation import connected, migrations_of
from fastlane.sql.service import SqlService
from tests.servers.postgres import Postgres

Databases = dict[str, str]


@pytest.fixture(scope="module")
def postgres() -> object:
    with Postgres() as server:
        yield server


def service(url: str, migrate: str = "check", boot_timeout: float = 10.0, *, broker: bool = False) -> SqlService:
    options = SqlOptions(migrate=migrate, databases={"blog": DatabaseOptions(url=url)})  # type: ignore[arg-type]
    surroundings = Surroundings(mode="serve", boot_timeout=boot_timeout)
    providers = {"queue": PostgresOptions(database="blog")} if broker else {}
    return SqlService(ResourceConfiguration(sql=options, providers=dict(providers)), surroundings)


def blog(tmp_path: Path, *migrations: str) -> Database:
    directory = tmp_path / "migrations"
    directory.mkdir(exist_ok=True)
    for number, text in enumerate(migrations, 1):
        (directory / f"{number}_m.up.sql").write_text(text)
    return Database("blog", migrations=str(directory))


def test_serve_refuses_while_a_migration_is_pending_and_boot_applies_it(postgres: Postgres, tmp_path: Path) -> None:
    postgres.sql("CREATE DATABASE pending")
    db = blog(tmp_path, "CREATE TABLE posts (id int)")
    url = postgres.url("pending")
    with pytest.raises(ConfigurationError, match=r"(?s)migrations are pending.*fastlane sql migrate"):
        asyncio.run(service(url).prepare())
    asyncio.run(service(url, "boot").prepare())
    asyncio.run(service(url).prepare())
    assert postgres.sql("SELECT count(*) FROM posts", "pending").strip() == "0"
    assert db.name == "blog"


def test_a_migration_that_fails_stops_the_boot(postgres: Postgres, tmp_path: Path) -> None:
    postgres.sql("CREATE DATABASE failing")
    db = blog(tmp_path, "CREATE TABLE posts (id nonsense)")
    with pytest.raises(ConfigurationError, match=r'1_m\.up\.sql:1: UndefinedObjectError: type "nonsense"'):
        asyncio.run(service(postgres.url("failing"), "boot").prepare())
    assert db.name == "blog"


def test_a_database_that_is_not_there_is_no_reason_to_wait(postgres: Postgres, tmp_path: Path) -> None:
    db = blog(tmp_path)
    with pytest.raises(ConfigurationError, match=r"(?s)database 'blog': .*does not exist.*\[sql.databases.blog\]"):
        asyncio.run(service(postgres.url("nowhere"), boot_timeout=60).prepare())
    assert db.name == "blog"


def test_a_server_that_comes_late_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastlane.sql")
    db = blog(tmp_path)
    with Postgres() as server:
        url = server.url("postgres")
        server.stop()

        async def main() -> None:
            preparing = asyncio.ensure_future(service(url, "boot", boot_timeout=60).prepare())
            while "can't be reached, trying again" not in caplog.text:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(server.start)
            await preparing

        asyncio.run(main())
    assert db.name == "blog"


def test_one_that_does_not_come_is_told_before_the_boot_is_given_up(tmp_path: Path) -> None:
    db = blog(tmp_path)
    url = f"postgresql://postgres@/postgres?host={tmp_path}"
    with pytest.raises(FastlaneError, match=r"database 'blog' can't be reached within 0\.8 s: FileNotFoundError"):
        asyncio.run(service(url, boot_timeout=1.0).prepare())
    assert db.name == "blog"


@pytest.fixture
def reader(postgres: Postgres) -> Iterator[str]:
    """The url of a database whose role may but read."""
    postgres.sql("CREATE DATABASE warehouse")
    postgres.sql("CREATE ROLE reader LOGIN; CREATE TABLE facts (a int); GRANT SELECT ON facts TO reader", "warehouse")
    yield postgres.url("warehouse", user="reader")
    postgres.sql("DROP DATABASE warehouse WITH (FORCE)")
    postgres.sql("DROP ROLE reader")


@pytest.mark.parametrize("migrate", ["check", "boot"])
def test_a_database_of_another_tool_needs_no_tables_of_ours(
    reader: str, migrate: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    db = Database("blog", migrations=None)
    asyncio.run(service(reader, migrate).prepare())
    topic = Topic("blog-facts", int)
    asyncio.run(service(reader, migrate).prepare())
    assert "database 'blog': its tables for publish(tx=) and once= are missing" in caplog.text
    with pytest.raises(ConfigurationError, match="pending" if migrate == "check" else "permission denied for database"):
        asyncio.run(service(reader, migrate, broker=True).prepare())
    assert postgres.sql("SELECT to_regnamespace('fastlane') IS NULL", "warehouse") == "t"
    del db, topic


def test_a_role_without_rights_on_our_tables_is_told_what_to_grant(reader: str, postgres: Postgres) -> None:
    db = Database("blog")
    asyncio.run(service(postgres.url("warehouse"), "boot").prepare())
    with pytest.raises(ConfigurationError, match=r"database 'blog': permission denied for schema fastlane\n.*GRANT"):
        asyncio.run(service(reader).prepare())
    del db


def test_a_connection_that_is_lost_meanwhile_is_told(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = blog(tmp_path)
    looked = Ledger.applied

    async def lost(ledger: Ledger) -> list[Applied]:
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fastlane blog'")
        return await looked(ledger)

    monkeypatch.setattr(Ledger, "applied", lost)
    with pytest.raises(FastlaneError, match="database 'blog': the connection was lost: "):
        asyncio.run(service(postgres.url("postgres")).prepare())
    assert db.name == "blog"


def test_a_server_without_the_tls_that_was_asked_for_is_no_reason_to_wait() -> None:
    db = Database("blog")
    with Postgres(tcp=True) as server:
        options = DatabaseOptions(url=server.tcp_url(), tls="require")
        surroundings = Surroundings(mode="serve", boot_timeout=60.0)
        made = SqlService(ResourceConfiguration(sql=SqlOptions(databases={"blog": options})), surroundings)
        with pytest.raises(ConfigurationError, match=r"rejected SSL upgrade\n    mend: see tls and ca in"):
            asyncio.run(made.prepare())
    del db


def test_a_server_whose_connections_are_all_taken_is_waited_for(
    postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "fastlane.sql")
    db = blog(tmp_path)
    postgres.sql("CREATE DATABASE crowded")
    postgres.sql("CREATE ROLE one LOGIN CONNECTION LIMIT 1; GRANT CREATE ON DATABASE crowded TO one")
    url = postgres.url("crowded", user="one")

    async def main() -> None:
        taken = await asyncpg.connect(url)
        preparing = asyncio.ensure_future(service(url, "boot", boot_timeout=60).prepare())
        while "can't be reached, trying again: too many connections" not in caplog.text:
            assert not preparing.done()
            await asyncio.sleep(0.02)
        await taken.close()
        await preparing

    asyncio.run(main())
    assert db.name == "blog"


def test_migrations_stand_beside_the_module_and_a_directory_that_was_named_must_be_there(tmp_path: Path) -> None:
    assert migrations_of(Database("none", migrations=None)) == []
    assert migrations_of(Database("default")) == []
    with pytest.raises(ConfigurationError, match=r"migrations can't be read"):
        migrations_of(Database("named", migrations="migratoins"))


def test_an_embedded_database_is_made_and_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLANE_STATE", str(tmp_path / "state"))
    db = blog(tmp_path, "CREATE TABLE posts (id int)")

    async def main() -> None:
        one = SqlService(ResourceConfiguration(), Surroundings(mode="serve", embedded=True))
        report = await one.prepare()
        other = SqlService(ResourceConfiguration(), Surroundings(mode="serve", embedded=True))
        other.receive(report)
        await other.open()
        try:
            assert await db.fetch_value(int, "SELECT count(*) FROM posts") == 0
        finally:
            await other.close()
            await one.close()

    asyncio.run(main())


def test_a_connection_of_ones_own_is_closed(postgres: Postgres, tmp_path: Path) -> None:
    db = blog(tmp_path)

    async def main() -> None:
        settings = service(postgres.url()).settings_of(db.name)
        async with connected(settings) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        assert connection.is_closed()

    asyncio.run(main())
