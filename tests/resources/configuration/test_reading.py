"""Which file is read, and everything that is wrong with it, at once."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.errors import ConfigurationError
from fastlane.redaction import redacted
from fastlane.resources.configuration import (
    AwsOptions,
    Loaded,
    LocalOptions,
    NsqOptions,
    PoolOptions,
    ResourceConfiguration,
    SecretsOptions,
    load,
    referenced_secrets,
    resolve,
    secrets_options,
    shown_dsn,
)
from fastlane.resources.surroundings import Mode, Surroundings

Directory = Callable[..., None]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("fastlane.toml", "fastlane.dev.toml", "variable.toml", "flag.toml"):
        (tmp_path / name).write_text(f'[cron]\ndatabase = "{name}"\n')
    return tmp_path


def read(text: str, secrets: Callable[[str], str] | None = None, **environment: str) -> ResourceConfiguration:
    return resolve(loaded(text, **environment), secrets)


def loaded(text: str, **environment: str) -> Loaded:
    import tomllib

    return Loaded("f.toml", None, tomllib.loads(text), environment)


def mistakes(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(text, **environment)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(("f.toml: ", "    mend: ")) for line in lines)
    return [line.removeprefix("f.toml: ") for line in lines]


@pytest.mark.parametrize(
    ("mode", "config", "variable", "found"),
    [
        ("serve", None, None, "fastlane.toml"),
        ("script", None, None, "fastlane.toml"),
        ("serve", None, "variable.toml", "variable.toml"),
        ("serve", "flag.toml", "variable.toml", "flag.toml"),
        ("dev", None, "variable.toml", "fastlane.dev.toml"),
        ("dev", "flag.toml", None, "flag.toml"),
        ("test", "flag.toml", "variable.toml", None),
    ],
)
def test_the_mode_decides_which_file_is_read(
    directory: Path, mode: Mode, config: str | None, variable: str | None, found: str | None
) -> None:
    environment = {} if variable is None else {"FASTLANE_CONFIG": variable}
    file = load(Surroundings(mode=mode, config=config), environment)
    assert resolve(file).cron.database == found
    assert file.path == (None if found is None else str(directory / found))


@pytest.mark.parametrize("mode", ["serve", "dev", "script", "test"])
def test_without_a_file_nothing_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    monkeypatch.chdir(tmp_path)
    file = load(Surroundings(mode=mode), {})
    assert resolve(file) == ResourceConfiguration()
    assert file.path is None
    assert file.directory == tmp_path


def test_everything_that_is_wrong_is_told_at_once() -> None:
    kinds = "expected one of aws, dotenv, env, files, gcp, json"
    assert mistakes(
        """
        [providers.events]
        kind = "awz"
        [providers.other]
        region = "eu-north-1"
        [providers.queue]
        kind = "nsq"
        nsqd = ["a:4150", 3]
        tls = 3
        [pubsub]
        provder = "queue"
        publish_timeout = "ten"
        max_outgoing = 0
        [pubsub.topics.user-signups]
        name = { env = "NOWHERE" }
        arn = ["arn"]
        subscriptions = { "a b" = { url = 1, nam = 2 } }
        [sql]
        migrate = "chek"
        [sql.databases.blog]
        pool = { min = true, max = 1.5, reserved = 1979-05-27 }
        [sql.databases.shop]
        url = { env = "A", file = "b" }
        [secrets]
        provider = { env = "KIND" }
        prefix = { secret = "PREFIX" }
        [secrt]
        """,
        KIND="vault",
    ) == [
        f"secrets.provider: {kinds}, got the variable KIND, which holds something else",
        "secrets.prefix: what says where secrets are can't be a secret itself: write { env = … } or { file = … }",
        "providers.events.kind: expected one of local, nsq, aws, gcp, postgres, got 'awz'. Did you mean 'aws'?",
        "providers.other.kind: missing: expected one of local, nsq, aws, gcp, postgres",
        "providers.queue.nsqd[1]: expected a text, got 3",
        "providers.queue.tls: expected true or false or a text, got 3",
        "pubsub.provder: there is no such key. Did you mean 'provider'?",
        "pubsub.publish_timeout: expected a duration: seconds, or a number with ms, s, m, h or d, got 'ten'",
        "pubsub.max_outgoing: expected a whole number at least 1, got 0",
        "pubsub.topics.user-signups.name: the variable NOWHERE is not set",
        "pubsub.topics.user-signups.arn: expected a text, got a list",
        'pubsub.topics.user-signups.subscriptions."a b".url: expected a text, got 1',
        "pubsub.topics.user-signups.subscriptions.\"a b\".nam: there is no such key. Did you mean 'name'?",
        "sql.migrate: expected one of boot, check, got 'chek'. Did you mean 'check'?",
        "sql.databases.blog.pool.min: expected a whole number at least 0, got true",
        "sql.databases.blog.pool.max: expected a whole number at least 1, got 1.5",
        "sql.databases.blog.pool.reserved: expected a whole number at least 0, got the date or time 1979-05-27",
        "sql.databases.blog.url: missing: expected a text",
        'sql.databases.shop.url: expected { env = "X" }, { file = "PATH" } or { secret = "X" }, with one key',
        "secrt: there is no such table. Did you mean 'secrets'?",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("pubsub = 3", "pubsub: expected a table, got 3"),
        ("serve = 3", "serve: expected a table, [serve], got 3"),
        (
            "other = 3",
            "other: there is no such table. Expected [providers], [pubsub], [sql], [cron], [secrets], [serve].",
        ),
        ("[pubsub]\npublish_timeout = 0", "pubsub.publish_timeout: expected a duration above zero, got 0"),
        ("[pubsub]\npublish_timeout = true", "pubsub.publish_timeout: expected a duration"),
        ("[pubsub]\nmax_message_size = '-1'", "pubsub.max_message_size: expected a size"),
        ("[sql]\ninstances = 'two'", "sql.instances: expected a whole number at least 1, got 'two'"),
        ("[sql.databases.a]\nurl = { env = 3 }", "sql.databases.a.url: expected { env = \"NAME\" }, got {'env': 3}"),
        ("[sql.databases.a]\nurl = { en = 'X' }", "sql.databases.a.url: expected a text, got a table"),
        ("[sql.databases.a]\nurl = 3", "sql.databases.a.url: expected a text, got a value that is not shown"),
        ("[sql.databases.a]\nurl = { env = 'EMPTY' }", "sql.databases.a.url: the variable EMPTY is empty"),
        ("[sql.databases]\na = 'x'", "sql.databases.a: expected a table, got 'x'"),
        ("[sql.databases.a]\nurl='x'\npool = { min = 3, max = 2 }", "sql.databases.a.pool: max (2) is less than min"),
        ("[providers.a]\nkind = 'nsq'", "providers.a: give nsqd, lookupd, or both"),
        (
            "[providers.a]\nkind = { env = 'X' }",
            "providers.a.kind: expected one of local, nsq, aws, gcp, postgres, wri",
        ),
        ("[providers.a]\nkind = 'aws'\naccess_key_id = 'x'", "providers.a: give access_key_id and secret_access_key"),
        ("[providers.a]\nkind = 'aws'\nendpoint_url = 'host'", "providers.a: endpoint_url: expected http://host:port"),
        (
            "[providers.a]\nkind = 'aws'\nendpoint_url = 'ftp://user:hunter2222@host'",
            "providers.a: endpoint_url: expected http://host:port, got (not shown)",
        ),
        (
            "[providers.a]\nkind = 'gcp'\nproject = 'p'\nendpoint = 'h:1'",
            "providers.a: endpoint: expected http://host:port",
        ),
        (
            "[providers.a]\nkind = 'nsq'\nnsqd = ['a:1']\nnsqd_http = ['a:2', 'b:2']",
            "providers.a: nsqd_http has 2 addresses, and nsqd 1",
        ),
        ("[pubsub.topics.a]\nname = 'x'\narn = 'y'", "pubsub.topics.a: give one of name and arn"),
        ("[pubsub.topics.a.subscriptions.b]\nname = 'x'\nurl = 'y'", "pubsub.topics.a.subscriptions.b: give one of"),
        ("[pubsub.topics.a]\narn = 'orders'", "pubsub.topics.a: arn: expected arn:aws:sns:REGION:ACCOUNT:NAME"),
        (
            "[pubsub.topics.a.subscriptions.b]\narn = 'arn:aws:sns:x:1:y'",
            "pubsub.topics.a.subscriptions.b: arn: expected arn:aws:sqs:REGION:ACCOUNT:NAME",
        ),
        (
            "[pubsub.topics.a.subscriptions.b]\nurl = 'orders'",
            "pubsub.topics.a.subscriptions.b: url: expected https://sqs.",
        ),
        ("[secrets]\nvariable = 'X'", "secrets: variable is a key of json, and the provider is env"),
        ("[secrets]\nprovider = 'json'\nprefix = 'X'", "secrets: prefix is a key of env and aws and gcp"),
        ("[secrets]\nprovider = 'gcp'", "secrets: gcp needs project"),
        ("[secrets]\nprovider = 'aws'\naccess_key_id = 'x'", "secrets: give access_key_id and secret_access_key"),
    ],
)
def test_a_mistake_has_the_path_of_its_key(text: str, mistake: str) -> None:
    (found,) = mistakes(text, EMPTY="")
    assert found.startswith(mistake)


def test_a_provider_that_is_not_there_is_told_with_a_mend() -> None:
    assert mistakes("[providers.events]\nkind = 'local'\n[pubsub.topics.user-signups]\nprovider = 'event'") == [
        "pubsub.topics.user-signups.provider: there is no provider 'event'. Did you mean 'events'?",
        "    mend: add [providers.event] with its kind, or write one of those that are there",
    ]
    assert read("[pubsub]\nprovider = 'local'").pubsub.provider == "local"


def test_a_reference_may_stand_wherever_a_text_may(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file\n")
    (tmp_path / "fastlane.toml").write_text(
        """
        [providers.queue]
        kind = "nsq"
        nsqd = [{ env = "ONE" }, "two:4150"]
        tls = { env = "CA" }
        max_delay = { env = "DELAY" }
        [sql]
        migrate = { env = "MIGRATE" }
        [sql.databases.blog]
        url = { secret = "DATABASE_URL" }
        password = { file = "password" }
        """
    )
    environment = {"ONE": "one:4150", "CA": "/ca.pem", "DELAY": "2m", "MIGRATE": "boot"}
    file = load(Surroundings(mode="serve", config=str(tmp_path / "fastlane.toml")), environment)
    configuration = resolve(file, {"DATABASE_URL": "postgresql://db"}.__getitem__)
    assert configuration.providers["queue"] == NsqOptions(nsqd=["one:4150", "two:4150"], tls="/ca.pem", max_delay=120.0)
    assert configuration.sql.migrate == "boot"
    assert configuration.sql.databases["blog"].url == "postgresql://db"
    assert configuration.sql.databases["blog"].password == "from a file"
    assert referenced_secrets(file) == {"DATABASE_URL"}
    assert resolve(file).sql.databases["blog"].url == "<secret DATABASE_URL>"
    read("[sql.databases.blog]\nurl = 'x'\npassword = { secret = 'X' }")
    assert redacted("<secret X>") == "<secret X>"


def test_what_a_file_can_not_give_is_the_mistake(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "huge").write_bytes(b"x" * ((1 << 20) + 1))
    for name, problem in (
        ("none", "can't be read: No such file or directory"),
        ("empty", "is empty"),
        ("binary", "is no UTF-8 text"),
        ("huge", "is larger than 1 MiB, which is no value"),
    ):
        path = tmp_path / name
        assert mistakes(f"[sql.databases.a]\nurl = {{ file = '{path}' }}") == [f"sql.databases.a.url: {path} {problem}"]


def test_a_secret_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match=r"^f.toml: sql.databases.a.url: the secret X was not found$"):
        read("[sql.databases.a]\nurl = { secret = 'X' }", {}.__getitem__)


def test_the_table_of_secrets_is_read_first_and_alone() -> None:
    file = loaded("[secrets]\nprovider = 'files'\npath = { env = 'P' }\nrefresh = '1m'\n[sql]\nmigrate = 3", P="/s")
    assert secrets_options(file) == SecretsOptions(provider="files", path="/s", refresh=60.0)
    with pytest.raises(ConfigurationError, match=r"^f.toml: secrets.provider: "):
        secrets_options(loaded("[secrets]\nprovider = 'file'\n[sql]\nmigrate = 3"))


def test_quantities_are_numbers_whoever_makes_the_table() -> None:
    assert LocalOptions(max_bytes="1MiB", retention="1d") == LocalOptions(max_bytes=1 << 20, retention=86400.0)
    with pytest.raises(ValueError, match="retention: expected a duration"):
        LocalOptions(retention="soon")
    assert PoolOptions().max is None


def test_passwords_and_keys_are_hidden_once_they_are_known() -> None:
    read(
        """
        [providers.events]
        kind = "aws"
        access_key_id = "AKIAEXAMPLE"
        secret_access_key = "wJalrXUtnFEMI/K7MDENG"
        [sql.databases.blog]
        url = "postgresql://blog:correct-horse-1@db/blog"
        password = "correct-horse-2"
        """
    )
    text = redacted("AKIAEXAMPLE wJalrXUtnFEMI/K7MDENG correct-horse-1 correct-horse-2")
    assert text == (
        "AKIAEXAMPLE ***providers.events.secret_access_key*** ***sql.databases.blog.url*** "
        "***sql.databases.blog.password***"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgresql:///d?host=/run&password=p", "postgresql:///d?host=/run"),
        ("postgresql://[h/d", "(not shown)"),
        ("postgresql//u:p@h/d", "(not shown)"),
        ("u:p@h/d", "(not shown)"),
        ("host=h password=p", "(not shown)"),
        ("<secret X>", "<secret X>"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_dsn(url) == shown


SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=5), st.integers(-5, 5), st.floats(), st.booleans(), st.just(datetime.date(2026, 1, 1))
)
TABLES = ["providers", "pubsub", "sql", "cron", "secrets", "serve", "topics", "databases", "subscriptions", "pool"]
NAMES = ["url", "kind", "provider", "name", "min", "max_outgoing", "names", "store", "env", "file", "secret", "x"]
KEYS = st.sampled_from([*TABLES, *NAMES])
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(KEYS, DOCUMENTS, max_size=4))
def test_any_document_is_read_or_refused_with_a_path(document: dict[str, object]) -> None:
    file = Loaded("f.toml", None, document, {})
    referenced_secrets(file)
    try:
        resolve(file)
    except ConfigurationError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(line.startswith(("f.toml: ", "    mend: ")) for line in lines)


@given(st.floats(0.001, 1e6), st.integers(1, 1000), st.sampled_from(["full", "normal"]))
def test_what_fits_is_taken_as_it_is(seconds: float, count: int, durability: str) -> None:
    document = {
        "providers": {"a": {"kind": "local", "durability": durability, "retention": seconds, "max_bytes": count}},
        "pubsub": {"provider": "a", "max_outgoing": count},
        "serve": {"anything": count},
    }
    found = resolve(Loaded("f.toml", None, document, {}))
    assert found.providers["a"] == LocalOptions(durability=durability, retention=seconds, max_bytes=count)  # type: ignore[arg-type]
    assert found.pubsub.max_outgoing == count
    assert AwsOptions() == AwsOptions(region=None)
