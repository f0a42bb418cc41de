from __future__ import annotations

import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlane.resources.configuration import DatabaseOptions
from fastlane.sql.settings import ConnectionSettings, check_url, redacted


def settings(url: str, **options: Any) -> ConnectionSettings:
    given = DatabaseOptions(url=url, **options)
    return ConnectionSettings(lambda: given)


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://db.example.com/blog", "verify-full"),
        ("postgresql://user:pa%2Fss@10.0.0.1:5433/blog", "verify-full"),
        ("postgresql://127.0.0.1,db.example.com/blog", "verify-full"),
        ("postgresql://localhost/blog", "prefer"),
        ("postgresql://127.0.0.7:99/blog", "prefer"),
        ("postgresql://[::1]:5432/blog", "prefer"),
        ("postgresql:///blog", "prefer"),
        ("postgresql://me@/blog?host=/run/postgresql", "prefer"),
        ("postgresql:///blog?host=db.example.com", "verify-full"),
        ("postgresql://db.example.com/blog?sslmode=disable", "disable"),
        ("postgresql://db.example.com/blog?sslmode=require", "require"),
        ("postgresql://localhost/blog?sslmode=verify-ca", "verify-ca"),
    ],
)
def test_tls_is_verified_unless_the_server_is_here_or_the_url_says_otherwise(url: str, mode: str) -> None:
    assert tls_mode(settings(url).arguments()["ssl"]) == mode


def tls_mode(made: str | ssl.SSLContext) -> str:
    if isinstance(made, str):
        return made
    if made.verify_mode == ssl.CERT_NONE:
        return "require"
    return "verify-full" if made.check_hostname else "verify-ca"


def test_the_option_wins_over_the_url() -> None:
    assert settings("postgresql://x/blog?sslmode=disable", tls="allow").arguments()["ssl"] == "allow"


def test_what_only_libpq_knows_is_not_sent_to_the_server() -> None:
    url = "postgresql://u@localhost/blog?sslmode=prefer&channel_binding=require&connect_timeout=3&application_name=mine"
    arguments = settings(url).arguments()
    assert arguments["dsn"] == "postgresql://u@localhost/blog?application_name=mine"
    assert "server_settings" not in arguments
    assert settings("postgresql:///blog").arguments()["server_settings"] == {"application_name": "fastlane"}


def test_urls_of_sqlalchemy_are_understood() -> None:
    assert settings("postgresql+asyncpg://u@localhost/blog").arguments()["dsn"] == "postgresql://u@localhost/blog"


def test_a_pooler_has_no_statement_cache_and_a_way_around_it() -> None:
    pooled = settings(
        "postgresql://localhost:6432/blog", pooler="transaction", direct_url="postgresql://localhost/blog"
    )
    assert pooled.pooler
    assert pooled.arguments()["statement_cache_size"] == 0
    assert pooled.arguments(direct=True)["dsn"] == "postgresql://localhost/blog"
    assert "statement_cache_size" not in pooled.arguments(direct=True)
    alone = settings("postgresql://localhost:6432/blog", pooler="transaction")
    assert alone.arguments(direct=True)["statement_cache_size"] == 0


def test_a_password_beside_the_url_is_used_and_read_anew() -> None:
    password = "one/two"
    changing = ConnectionSettings(lambda: DatabaseOptions(url="postgresql://me:old@localhost/blog", password=password))
    assert changing.arguments()["password"] == "one/two"
    assert changing.dsn == "postgresql://me:one%2Ftwo@localhost/blog"
    password = "three"
    assert changing.arguments()["password"] == "three"
    assert settings("postgresql://me@localhost/blog").dsn == "postgresql://me@localhost/blog"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"url": "postgresql:///blog?host=/run/postgresql"}, "postgresql:///blog?host=/run/postgresql"),
        ({"url": "postgresql://127.0.0.1/blog?application_name=a%20b"}, "postgresql://127.0.0.1/blog?application_name=a%20b"),
        ({"url": "postgresql://127.0.0.1/blog", "tls": "disable"}, "postgresql://127.0.0.1/blog?sslmode=disable"),
        ({"url": "postgresql://h/blog?sslmode=disable", "tls": "require"}, "postgresql://h/blog?sslmode=require"),
        ({"url": "postgresql://h/blog", "tls": "require", "ca": "/ca"}, "postgresql://h/blog?sslmode=verify-ca&sslrootcert=/ca"),
        ({"url": "postgresql://h/blog", "ca": "/ca"}, "postgresql://h/blog?sslmode=verify-full&sslrootcert=/ca"),
        ({"url": "postgresql://h/blog"}, "postgresql://h/blog?sslmode=verify-full&sslrootcert=SYSTEM"),
        ({"url": "postgresql://h/blog?sslrootcert=/ca&sslmode=verify-ca&x=1"}, "postgresql://h/blog?x=1&sslmode=verify-ca&sslrootcert=/ca"),
        ({"url": "postgresql://me@/blog?password=old&host=/x", "password": "new"}, "postgresql://me:new@/blog?host=/x"),
    ],
)  # fmt: skip
def test_the_url_for_others_says_how_connections_are_secured(options: dict[str, Any], expected: str) -> None:
    system = ssl.get_default_verify_paths().cafile or "system"
    assert ConnectionSettings(lambda: DatabaseOptions(**options)).dsn == expected.replace("SYSTEM", system)


def test_a_server_is_known_by_its_address_alone() -> None:
    assert settings("postgresql://a:b@db/one").server == settings("postgresql://c@db:5432/two?sslmode=require").server
    assert settings("postgresql://db/one").server != settings("postgresql://db:5433/one").server
    assert settings("postgresql:///a?host=/run/x").server != settings("postgresql:///a?host=/run/y").server


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://u:p@host:5432/blog?sslmode=require", None),
        ("postgres://host", None),
        ("postgresql://a,b:5433/blog", None),
        ("mysql://host/blog", "got the scheme 'mysql'"),
        ("host=localhost dbname=blog", "got the scheme ''"),
        ("postgresql://host:port/blog", "a port is a number"),
        ("postgresql://host/blog?sslmode=yes", "sslmode is one of disable"),
        ("postgresql://u:p[ss@host/blog", "a special character in it is written as %XX"),
    ],
)
def test_a_url_is_checked_before_anything_is_opened(url: str, problem: str | None) -> None:
    found = check_url(url)
    assert found is None if problem is None else problem in (found or "")


SECRETS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20).map("Zq".__add__)


@given(SECRETS, st.sampled_from(["postgresql://u:{}@host/blog", "postgresql://host/blog?user=u&password={}"]))
def test_a_password_is_in_no_text(secret: str, url: str) -> None:
    assert secret not in redacted(url.format(secret))
    assert redacted(url.format(secret)).startswith("postgresql://")
    assert secret not in (check_url(url.format(secret).replace("host", "ho[st")) or "")


def test_a_redacted_url_still_says_where_it_leads() -> None:
    assert redacted("postgresql://u:p@host:1/blog?host=/run/x") == "postgresql://u@host:1/blog?host=/run/x"
    assert redacted("postgresql://host/blog") == "postgresql://host/blog"
