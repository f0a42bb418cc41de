from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastlane.cron import cron
from fastlane.errors import CompileError, ConfigurationError
from fastlane.pubsub import Topic
from fastlane.resources.configuration import DatabaseOptions, PoolOptions, ResourceConfiguration, SqlOptions
from fastlane.resources.surroundings import ALL_ROLES, Mode, Role, Surroundings
from fastlane.sql import Database
from fastlane.sql.service import SqlService
from tests.servers.postgres import Postgres


@pytest.fixture(autouse=True)
def _nothing_declared() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


def service(
    mode: Mode = "serve",
    *,
    embedded: bool = False,
    workers: int = 1,
    roles: tuple[Role, ...] = ALL_ROLES,
    **sql: Any,
) -> SqlService:
    surroundings = Surroundings(mode=mode, embedded=embedded, workers=workers, roles=roles)
    return SqlService(ResourceConfiguration(sql=SqlOptions(**sql)), surroundings)


def test_a_database_without_a_url_is_a_mistake_unless_it_may_be_embedded() -> None:
    db = Database("blog")
    (mistake,) = service().check()
    assert mistake.startswith(
        f"database 'blog', declared at {db.place}, has no url\n    mend: [sql.databases.blog] url"
    )
    assert service(embedded=True).check() == []
    assert service("dev").check() == []
    assert service("test").check() == []


def test_a_database_can_not_have_the_name_of_our_own_ledger() -> None:
    with pytest.raises(CompileError, match="a database can't be called 'fastlane'"):
        Database("fastlane")


def test_every_mistake_of_the_configuration_is_told_at_once() -> None:
    db = Database("blog")
    mistakes = service(
        instances=0,
        migrate="boot",
        databases={
            "blog": DatabaseOptions(url="mysql://me:pass-word@host/blog", pooler="transaction"),
            "other": DatabaseOptions(url="postgresql://host/other"),
        },
    ).check()
    assert [mistake.partition(":")[0] for mistake in mistakes] == [
        "sql.databases.other",
        "sql.instances",
        "sql.databases.blog.url",
        "sql.databases.blog",
    ]
    assert "pass-word" not in "".join(mistakes)
    del db


@pytest.mark.parametrize(("configured", "extra"), [(False, "embedded"), (True, "postgres")])
def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, configured: bool, extra: str
) -> None:
    db = Database("blog")
    options = {"databases": {"blog": DatabaseOptions(url="postgresql://localhost/blog")}} if configured else {}
    for module in ("asyncpg", "fastlane.sql.binding", "fastlane.sql.pool", "fastlane.sql.driver"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    (mistake,) = service("dev", **options).check()
    assert mistake == f"databases need asyncpg, which is not installed\n    mend: pip install 'fastlane-asgi[{extra}]'"
    del db


async def run(made: SqlService) -> None:
    """What the runtime does before the app runs."""
    assert made.check() == []
    made.receive(await made.prepare())
    await made.open()


def test_a_configured_database_is_bound_while_the_service_is_open(url: str) -> None:
    db = Database("blog")
    made = service(
        workers=4, migrate="boot", databases={"blog": DatabaseOptions(url=url, pool=PoolOptions(max=2, min=1))}
    )

    async def main() -> None:
        try:
            await run(made)
            assert await db.fetch_one(int, "SELECT 1") == 1
            assert db.dsn == url
            assert db.settings.current().url == url
            assert db.binding.pool.most == 2
        finally:
            await made.close()
        assert not db._bindings
        await made.close()  # once more does no harm

    asyncio.run(main())


def test_pending_migrations_stop_serve_and_are_applied_where_it_is_asked_for(url: str, tmp_path: Path) -> None:
    (tmp_path / "0001_posts.up.sql").write_text("CREATE TABLE posts (id int)")
    db = Database("blog", migrations=str(tmp_path))
    databases = {"blog": DatabaseOptions(url=url)}

    async def refused() -> None:
        made = service(databases=databases)
        try:
            with pytest.raises(ConfigurationError, match="pending"):
                await made.prepare()
        finally:
            await made.close()

    async def applied() -> None:
        made = service(databases=databases, migrate="boot")
        try:
            await run(made)
            assert await db.fetch_all(int, "SELECT id FROM posts") == []
        finally:
            await made.close()

    asyncio.run(refused())
    asyncio.run(applied())


def test_a_pool_of_a_worker_that_was_forked_from_a_boot_process_needs_no_preparation(url: str) -> None:
    db = Database("blog")
    made = service("script", databases={"blog": DatabaseOptions(url=url)})

    async def main() -> None:
        made.receive({})
        await made.open()
        try:
            assert await db.fetch_one(int, "SELECT 1") == 1
        finally:
            await made.close()

    asyncio.run(main())


def test_databases_of_one_server_share_its_connections(postgres: Postgres, url: str) -> None:
    one, two = Database("one"), Database("two")
    databases = {name: DatabaseOptions(url=url) for name in ("one", "two")}
    made = service(workers=2, roles=("http",), databases=databases)

    async def main() -> None:
        made.receive({})
        await made.open()
        try:
            assert one.binding.pool.most == two.binding.pool.most == 54 // (2 * 2 * 2) - 1
        finally:
            await made.close()

    asyncio.run(main())


def test_what_cron_jobs_and_the_outbox_connect_with_is_left_to_them(url: str) -> None:
    db = Database("blog")
    topic = Topic("blog-posts", int)

    @cron("clean-up", every="1h")
    async def clean_up() -> None: ...

    async def size(mode: Mode, roles: tuple[Role, ...] = ALL_ROLES) -> int | None:
        made = service(mode, workers=4, databases={"blog": DatabaseOptions(url=url)}, roles=roles)
        made.receive({})
        await made.open()
        try:
            await db.execute("SELECT 1")
            return db.binding.pool.most
        finally:
            await made.close()

    assert asyncio.run(size("serve")) == (54 - 2) // 8 - 1 - 1
    assert asyncio.run(size("serve", roles=("http",))) == (54 - 2) // 8 - 1
    assert asyncio.run(size("script")) == 54 // 8 - 1
    del topic, clean_up


def test_behind_a_pooler_a_time_limit_is_refused() -> None:
    db = Database("blog")
    options = DatabaseOptions(url="postgresql://h/x", pooler="transaction", statement_timeout=5.0)
    (mistake,) = service(databases={"blog": options}).check()
    assert "sql.databases.blog.statement_timeout: a pooler" in mistake
    del db


def test_what_is_configured_anew_counts_from_the_next_connection_on(url: str) -> None:
    db = Database("blog")
    made = service(databases={"blog": DatabaseOptions(url=url, password="first")})
    settings = made.settings_of("blog")
    assert settings.arguments()["password"] == "first"
    made.configuration = ResourceConfiguration(
        sql=SqlOptions(databases={"blog": DatabaseOptions(url=url, password="second")})
    )
    assert settings.arguments()["password"] == "second"
    del db


def test_migrations_are_beside_the_module_that_declares_the_database(tmp_path: Path) -> None:
    from fastlane.sql.preparation import migrations_of

    assert migrations_of(Database("blog")) == []
    assert migrations_of(Database("blog", migrations=None)) == []
    with pytest.raises(ConfigurationError, match="nowhere"):
        migrations_of(Database("blog", migrations="nowhere"))
    (tmp_path / "0001_posts.up.sql").write_text("SELECT 1")
    assert [each.title for each in migrations_of(Database("blog", migrations=str(tmp_path)))] == ["0001_posts"]
