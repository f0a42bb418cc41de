"""``fastlane sql``: migrations, a prompt, a fresh start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlane.sql.embedded import EmbeddedServer
from tests.cli.shop import Shop, embedded_servers
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.process

WORD = "ex-password-1"
TWO = """
from fastlane import App
from fastlane.sql import Database

app, blog, shop = App(), Database("blog"), Database("shop", migrations=None)
"""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedServer, Path]]:
    yield from embedded_servers(tmp_path_factory.mktemp("state"))


@pytest.fixture
def shop(tmp_path: Path, embedded: tuple[EmbeddedServer, Path]) -> Shop:
    return Shop(tmp_path, *embedded)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """It asks for passwords over TCP."""
    with Postgres(tcp=True) as server:
        (server.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server.reload()
        server.sql(f"CREATE ROLE owner LOGIN PASSWORD '{WORD}'")
        yield server


@pytest.fixture
def external(shop: Shop, server: Postgres) -> Shop:
    """The shop with a database of its own there; the password stands behind a secret."""
    server.sql("DROP DATABASE IF EXISTS sold WITH (FORCE)")
    server.sql("CREATE DATABASE sold OWNER owner")
    shop.write(
        "fastlane.toml",
        "[secrets]\nprovider = 'dotenv'\n[pubsub]\nprovider = 'local'\n[sql.databases.blog]\n"
        f"url = '{server.tcp_url('sold', user='owner')}'\npassword = {{ secret = 'WORD' }}\n",
    )
    shop.write(".env", f"WORD={WORD}\n")
    return shop


def test_migrations_are_shown_applied_and_undone(shop: Shop) -> None:
    of = ("shop:app", "--embedded")
    before = shop.run("sql", "status", *of)
    assert before.code == 1
    assert before.out == "blog:\n  0001_posts  pending\n  (the framework's own tables are not those of this version)\n"
    assert shop.run("sql", "migrate", *of).out == "blog: 0001_posts applied\n"
    assert shop.run("sql", "migrate", *of).out == "blog: nothing is pending\n"
    after = shop.run("sql", "status", *of)
    assert after.code == 0
    assert after.out.startswith("blog:\n  0001_posts  applied  20")
    (row,) = json.loads(shop.run("sql", "status", *of, "--json").out)
    assert (row["database"], row["in_order"], row["framework_tables"]) == ("blog", True, True)
    assert [(one["migration"], one["state"]) for one in row["migrations"]] == [("0001_posts", "applied")]
    edited = "UPDATE fastlane.migrations SET checksum = 'another' WHERE source = 'fastlane' AND version = 1"
    shop.run("sql", "shell", *of, "--", "-qc", edited)
    other = shop.run("sql", "status", *of)
    assert other.code == 1
    assert other.out.endswith("  (the framework's own tables are not those of this version)\n")
    undone = shop.run("sql", "rollback", *of, "--steps", "2")
    assert (undone.code, undone.out) == (0, "blog: 0001_posts undone\nblog: nothing is left to be undone\n")


def test_a_status_tells_what_is_out_of_order(shop: Shop) -> None:
    of = ("shop:app", "--embedded")
    shop.write("migrations/0003_third.up.sql", "CREATE TABLE third ();")
    shop.write("migrations/0004_fourth.up.sql", "CREATE TABLE fourth ();")
    shop.run("sql", "migrate", *of)
    shop.write("migrations/0001_posts.up.sql", "CREATE TABLE posts (id bigint);")
    shop.write("migrations/0002_second.up.sql", "CREATE TABLE second ();")
    (shop.directory / "migrations/0004_fourth.up.sql").unlink()
    shown = shop.run("sql", "status", *of)
    assert shown.code == 1
    states = [line.split("  ")[1:3] for line in shown.out.splitlines()[1:]]
    assert states == [
        ["0001_posts", "CHANGED since it was applied"],
        ["0003_third", "applied"],
        ["0004_fourth", "applied by a newer version of the code"],
        ["0002_second", "OUT OF ORDER"],
    ]
    refused = shop.run("sql", "migrate", *of)
    assert refused.code == 2
    assert "0001_posts.up.sql was changed after it was applied" in refused.err


def test_a_migration_that_fails_names_its_line_and_leaves_nothing(shop: Shop) -> None:
    shop.write("migrations/0002_likes.up.sql", "ALTER TABLE posts ADD likes int;\nALTER TABLE posts ADD more nonsense;")
    failed = shop.run("sql", "migrate", "shop:app", "--embedded")
    assert failed.code == 2
    assert '0002_likes.up.sql:2: UndefinedObjectError: type "nonsense" does not exist' in failed.err
    columns = shop.run("sql", "shell", "shop:app", "--embedded", "--", "-Atc", r"\d posts")
    assert columns.out == "id|integer|||\n"
    assert shop.run("sql", "rollback", "shop:app", "--embedded", "--steps", "0").code == 2


def test_what_can_not_be_undone_is_told_after_what_was(shop: Shop) -> None:
    shop.write("migrations/0002_likes.up.sql", "CREATE TABLE likes ();")
    shop.write("migrations/0003_more.up.sql", "CREATE TABLE more ();")
    shop.write("migrations/0003_more.down.sql", "DROP TABLE more;")
    shop.run("sql", "migrate", "shop:app", "--embedded")
    outcome = shop.run("sql", "rollback", "shop:app", "--embedded", "--steps", "3")
    assert outcome.code == 2
    assert outcome.out == "blog: 0003_more undone\n"
    assert "0002_likes.up.sql: nothing says how to undo it\n    mend: write 0002_likes.down.sql" in outcome.err


def test_a_new_migration_gets_the_next_number_without_any_configuration(shop: Shop) -> None:
    made = shop.run("sql", "new", "shop:app", "Add likes")
    assert (made.code, made.out) == (0, "migrations/0002_add_likes.up.sql\n")
    assert (shop.directory / "migrations/0002_add_likes.up.sql").read_text() == "-- Add likes\n"
    assert shop.run("sql", "new", "shop:app", "???").code == 2
    shop.write("two.py", TWO)
    refused = shop.run("sql", "new", "two:app", "x", "--database", "shop")
    assert refused.code == 2
    assert "migrations=None: they are another tool's" in refused.err


def test_ten_that_migrate_at_once_apply_each_migration_once(shop: Shop) -> None:
    for number in range(2, 8):
        shop.write(f"migrations/{number:04d}_m.up.sql", f"CREATE TABLE m{number} (); SELECT pg_sleep(0.5);")
    shop.run("sql", "status", "shop:app", "--embedded")  # the server runs, and lingers
    command = [sys.executable, "-m", "fastlane", "sql", "migrate", "shop:app", "--embedded"]
    started = [
        subprocess.Popen(
            command,
            cwd=shop.directory,
            env={**os.environ, **shop.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(10)
    ]
    outcomes = [one.communicate(timeout=100) for one in started]
    assert [one.returncode for one in started] == [0] * 10, outcomes
    applied = [line for out, _ in outcomes for line in out.splitlines() if line.endswith("applied")]
    assert sorted(applied) == ["blog: 0001_posts applied", *(f"blog: {n:04d}_m applied" for n in range(2, 8))]
    assert sum("another process migrates it: waiting" in err for _, err in outcomes) >= 1
    assert all(err.count("waiting") <= 1 for _, err in outcomes)


def test_an_embedded_database_begins_anew_while_others_use_it(shop: Shop) -> None:
    of = ("shop:app", "--embedded")
    shop.run("sql", "migrate", *of)
    with subprocess.Popen(
        [sys.executable, "-m", "fastlane", "sql", "shell", *of, "--", "-At"],
        cwd=shop.directory,
        env={**os.environ, **shop.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("BEGIN; INSERT INTO posts VALUES (1) RETURNING 'held';\n")
        other.stdin.flush()
        assert [other.stdout.readline() for _ in range(2)] == ["BEGIN\n", "held\n"]
        outcome = shop.run("sql", "reset", *of)
        assert (outcome.code, outcome.out) == (0, "blog: 0001_posts applied\nblog: begun anew\n")
        other.communicate("SELECT 1;\n", timeout=30)
    assert shop.run("sql", "shell", *of, "--", "-Atc", "SELECT count(*) FROM posts").out == "0\n"


def test_where_there_are_several_databases_one_is_chosen(shop: Shop) -> None:
    shop.write("two.py", TWO)
    assert shop.run("sql", "migrate", "two:app", "--embedded").out == (
        "blog: 0001_posts applied\nshop: nothing is pending\n"
    )
    assert shop.run("sql", "migrate", "two:app", "--embedded", "--database", "shop").out == "shop: nothing is pending\n"
    assert shop.run("sql", "status", "two:app", "--embedded").out.endswith("shop:\n  it has no migrations\n")
    for verb in ("url", "reset", "rollback", "shell"):
        outcome = shop.run("sql", verb, "two:app", "--embedded")
        assert outcome.code == 2
        assert outcome.err == "fastlane: there are 2 databases\n    mend: --database with one of blog, shop\n"
    assert shop.run("sql", "new", "two:app", "x").err == (
        "fastlane: two:app declares 2 databases\n    mend: --database with one of blog, shop\n"
    )
    outcome = shop.run("sql", "status", "two:app", "--embedded", "--database", "nobody")
    assert outcome.err == (
        "fastlane: two:app declares no database 'nobody'\n    mend: --database with one of blog, shop\n"
    )
    shop.write("bare.py", "from fastlane import App\napp = App()\n")
    outcome = shop.run("sql", "migrate", "bare:app")
    assert (outcome.code, outcome.err) == (2, "fastlane: bare:app declares no database\n")


def test_a_url_has_its_password_only_where_that_is_asked_for(external: Shop, server: Postgres) -> None:
    shown = external.run("sql", "url", "shop:app")
    assert shown.out == f"postgresql://owner@127.0.0.1:{server.port}/sold\n"
    assert external.run("sql", "url", "shop:app", "--show-password").out == (
        f"postgresql://owner:{WORD}@127.0.0.1:{server.port}/sold\n"
    )
    external.write(
        "fastlane.toml",
        "[pubsub]\nprovider = 'local'\n[sql.databases.blog]\n"
        f"url = 'postgresql://owner@/sold?host=127.0.0.1&port={server.port}&password={WORD}'\n",
    )
    shown = external.run("sql", "url", "shop:app")
    assert shown.out == f"postgresql://owner@/sold?host=127.0.0.1&port={server.port}\n"
    assert external.run("sql", "shell", "shop:app", "--", "-Atc", "SELECT 7").out == "7\n"


def test_psql_gets_the_password_in_its_environment_and_answers_with_its_exit_code(external: Shop) -> None:
    told = external.run(
        "sql",
        "shell",
        "shop:app",
        "--",
        "-At",
        "-c",
        r"\! tr '\0' ' ' </proc/$PPID/cmdline; echo",
        "-c",
        r"\! echo $PGPASSWORD",
    )
    assert told.code == 0
    line, password = told.out.splitlines()
    assert (WORD in line, password) == (False, WORD)
    assert external.run("sql", "shell", "shop:app", "--", "-c", "SELECT 1/0", "-v", "ON_ERROR_STOP=1").code == 1


def test_an_interrupt_ends_the_query_and_not_the_prompt(external: Shop) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "fastlane", "sql", "shell", "shop:app", "--", "-At"],
        cwd=external.directory,
        env={**os.environ, **external.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as prompt:
        assert prompt.stdin is not None
        assert prompt.stdout is not None
        prompt.stdin.write("SELECT 'begun';\n")
        prompt.stdin.flush()
        assert prompt.stdout.readline() == "begun\n"
        for _ in range(2):  # Python's own way ends the child with the second
            os.kill(prompt.pid, signal.SIGINT)
        out, err = prompt.communicate("SELECT 'goes on';\n", timeout=30)
    assert (prompt.returncode, out, err) == (0, "goes on\n", "")


def test_off_the_embedded_server_the_name_has_to_be_said(external: Shop, server: Postgres) -> None:
    external.run("sql", "migrate", "shop:app")
    server.sql(
        "CREATE SCHEMA extra AUTHORIZATION owner; CREATE TABLE extra.t (); CREATE VIEW public.v AS SELECT 1", "sold"
    )
    for verb in ("reset", "rollback"):
        asked = external.run("sql", verb, "shop:app")
        assert asked.code == 1
        assert "Write the database's name (blog) to go on" in asked.out
        wrong = external.run("sql", verb, "shop:app", "--confirm", "sold")
        assert (wrong.code, wrong.err) == (1, "Error: nothing was done: that is not the database's name\n")
    assert server.sql("SELECT to_regclass('extra.t')", "sold") == "extra.t"
    done = external.run("sql", "reset", "shop:app", "--confirm", "blog")
    assert (done.code, done.out) == (0, "blog: 0001_posts applied\nblog: begun anew\n")
    assert server.sql("SELECT to_regclass('extra.t') IS NULL AND to_regclass('v') IS NULL", "sold") == "t"
    assert external.run("sql", "rollback", "shop:app", "--confirm", "blog").out == "blog: 0001_posts undone\n"


def test_a_reset_waits_for_nobody_for_ever(external: Shop, server: Postgres) -> None:
    external.run("sql", "migrate", "shop:app")
    with subprocess.Popen(
        [str(server.binaries / "psql"), server.url("sold"), "-At"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("BEGIN; SELECT count(*) FROM posts;\n")
        other.stdin.flush()
        assert other.stdout.readline() == "BEGIN\n"
        assert other.stdout.readline() == "0\n"
        started = time.monotonic()
        outcome = external.run("sql", "reset", "shop:app", "--confirm", "blog")
        assert time.monotonic() - started < 60
        other.communicate(timeout=30)
    assert outcome.code == 1
    assert "LockNotAvailableError: canceling statement due to lock timeout" in outcome.err
    assert external.run("sql", "status", "shop:app").code == 0  # all of it is still there


@pytest.mark.parametrize(
    ("url", "code", "problem"),
    [
        ("postgresql://owner:wr0ng-word@127.0.0.1:{port}/sold", 2, "password authentication failed for user"),
        ("postgresql://owner:ex-password-1@127.0.0.1:{port}/none", 2, 'database "none" does not exist'),
        ("postgresql://owner:ex-password-1@127.0.0.1:1/sold", 1, "database 'blog' can't be reached: "),
        ("postgresql://owner:ex-password-1@nowhere.invalid/sold", 1, "database 'blog' can't be reached: "),
    ],
)
def test_a_server_that_refuses_or_is_not_there_is_one_message(
    external: Shop, server: Postgres, url: str, code: int, problem: str
) -> None:
    external.write(
        "fastlane.toml",
        f"[pubsub]\nprovider = 'local'\n[sql.databases.blog]\nurl = '{url.format(port=server.port)}'\n",
    )
    for verb in ("migrate", "status", "rollback"):
        outcome = external.run("sql", verb, "shop:app", *(("--confirm", "blog") if verb == "rollback" else ()))
        assert outcome.code == code
        assert problem in outcome.err
        assert "mend: " in outcome.err
        assert "-word" not in outcome.err + outcome.out
        assert WORD not in outcome.err + outcome.out


def test_what_a_role_may_not_do_is_one_message(external: Shop, server: Postgres) -> None:
    server.sql("CREATE TABLE public.foreign_one ()", "sold")
    outcome = external.run("sql", "reset", "shop:app", "--confirm", "blog")
    assert (outcome.code, outcome.out) == (0, "blog: 0001_posts applied\nblog: begun anew\n")
    server.sql("CREATE SCHEMA foreign_one", "sold")
    outcome = external.run("sql", "reset", "shop:app", "--confirm", "blog")
    assert outcome.code == 1
    assert outcome.err == "Error: InsufficientPrivilegeError: must be owner of schema foreign_one\n"


def test_a_secret_that_is_missing_is_a_mistake_of_the_configuration(external: Shop) -> None:
    external.write(".env", "OTHER=1\n")
    outcome = external.run("sql", "url", "shop:app")
    assert outcome.code == 2
    assert "WORD" in outcome.err


def test_without_psql_it_says_what_to_install(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlane.errors import ConfigurationError
    from fastlane_cli import sql

    monkeypatch.setenv("PATH", str(shop.directory))
    found = Path(sql._psql())
    assert found.is_file()  # the embedded server's own

    def none() -> None:
        raise ConfigurationError("no server here")

    monkeypatch.setattr("fastlane.sql.embedded.binaries.find_binaries", none)
    with pytest.raises(ConfigurationError, match="psql is not installed"):
        sql._psql()


@pytest.mark.parametrize("verb", ["migrate", "status", "rollback", "new", "shell", "url", "reset"])
def test_the_help_of_every_verb_has_an_example(shop: Shop, verb: str) -> None:
    assert f"Example: fastlane sql {verb} app:app" in shop.run("sql", verb, "--help").out
