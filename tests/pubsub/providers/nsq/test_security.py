from __future__ import annotations

import asyncio
import urllib.parse
from pathlib import Path

import msgspec
import pytest
import trustme

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.nsq.address import Security
from fastlane.resources.configuration.providers import NsqOptions
from tests.pubsub.providers.nsq.conftest import StartNsqd
from tests.pubsub.providers.nsq.rig import TOPIC, bound_subscription, gather_messages, options_of, outgoing, rigged
from tests.servers.nsq import Nsqd


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate authority, and beside it what a server on 127.0.0.1 needs."""
    made = trustme.CA()
    path = tmp_path / "authority.pem"
    made.cert_pem.write_to_path(path)
    server = made.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    for number, certificate in enumerate(server.cert_chain_pems):
        certificate.write_to_path(tmp_path / "server.pem", append=number > 0)
    return path


@pytest.fixture
def tls_nsqd(start_nsqd: StartNsqd, authority: Path) -> Nsqd:
    there = authority.parent
    return start_nsqd(
        f"--tls-cert={there / 'server.pem'}", f"--tls-key={there / 'server.key'}", "--tls-required=tcp-https"
    )


def test_messages_go_through_tls(tls_nsqd, authority):
    async def main():
        options = options_of(tls_nsqd, tls=str(authority))
        async with rigged(options, bound_subscription()) as rig:
            publisher, source = await rig.publisher(), await rig.source()
            sent = [outgoing(b'"%s"' % (b"x" * size)) for size in (1, 300_000)]
            for _ in range(3):
                assert await publisher.publish(TOPIC, sent) == [each.id for each in sent]
            got = await gather_messages(source, 6)
            assert {each.id: each.payload for each in got} == {each.id: each.payload for each in sent}
            tls_nsqd.kill()
            await asyncio.to_thread(tls_nsqd.start)
            async with asyncio.timeout(40):
                while not isinstance((await publisher.publish(TOPIC, sent[:1]))[0], str):
                    await asyncio.sleep(0.02)
            await gather_messages(source, 1)

    asyncio.run(main())


def test_a_certificate_of_an_unknown_authority_is_refused(tls_nsqd):
    async def main():
        async with rigged(options_of(tls_nsqd, tls=True)) as rig:
            [answer] = await (await rig.publisher()).publish(TOPIC, [outgoing()])
            assert isinstance(answer, BrokerUnavailable)
            assert "certificate" in str(answer)

    asyncio.run(main())


def test_without_tls_an_nsqd_that_insists_on_it_says_so(tls_nsqd):
    async def main():
        async with rigged(options_of(tls_nsqd)) as rig:
            [answer] = await (await rig.publisher()).publish(TOPIC, [outgoing()])
            assert isinstance(answer, PublishRefused)
            assert "TLS required" in str(answer)

    asyncio.run(main())


def test_an_nsqd_without_tls_is_refused_when_it_is_asked_for(nsqd, authority):
    async def main():
        async with rigged(options_of(nsqd, tls=str(authority))) as rig:
            with pytest.raises(BrokerUnavailable, match="does not offer TLS"):
                await (await rig.source()).receive(1)

    asyncio.run(main())


def test_an_authority_that_can_not_be_read_is_named(tmp_path):
    (tmp_path / "empty.pem").touch()

    async def main():
        for path in ("missing.pem", "empty.pem"):
            async with rigged(NsqOptions(nsqd=["127.0.0.1:9"], tls=str(tmp_path / path))) as rig:
                with pytest.raises(ConfigurationError, match=r"\[providers.events\] tls = .*\n    mend: "):
                    await rig.publisher()

    asyncio.run(main())


async def _authd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What nsqd asks: who may do what. "s3cret" may publish and consume orders."""
    request = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(request).query)
    allowed = b'[{"topic":"orders.*","channels":[".*"],"permissions":["subscribe","publish"]}]'
    if query["secret"] == ["s3cret"]:
        body = b'{"ttl":60,"identity":"us","identity_url":"","authorizations":%b}' % allowed
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    else:
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


def test_the_secret_is_presented_and_what_it_allows_works(start_nsqd):
    async def main():
        server = await asyncio.start_server(_authd, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        nsqd = await asyncio.to_thread(start_nsqd, f"--auth-http-address={address}")
        async with rigged(options_of(nsqd, auth="s3cret")) as rig:
            publisher = await rig.publisher()
            assert isinstance((await publisher.publish(TOPIC, [outgoing()]))[0], str)
            assert len(await gather_messages(await rig.source(), 1)) == 1
            other = type(TOPIC)(name="secrets", physical="secrets")
            [refused] = await publisher.publish(other, [outgoing()])
            assert isinstance(refused, PublishRefused)
            assert "mend: let the secret in `auth` publish to this topic" in str(refused)
            subscription = msgspec.structs.replace(bound_subscription(), topic=other)
            with pytest.raises(BrokerUnavailable, match=r"E_UNAUTHORIZED.*\n    mend: look at .* what `auth` allows"):
                await (await rig.source(subscription)).receive(1)
        async with rigged(options_of(nsqd, auth="guessed")) as rig:
            [answer] = await (await rig.publisher()).publish(TOPIC, [outgoing()])
            assert isinstance(answer, BrokerUnavailable)
            assert "mend: look at the secret in `auth`" in str(answer)
            assert "guessed" not in str(answer)
        async with rigged(options_of(nsqd)) as rig:
            with pytest.raises(BrokerUnavailable, match="asks for AUTH\n    mend: "):
                await (await rig.source()).receive(1)
        server.close()

    asyncio.run(main())


def test_a_secret_that_nobody_asks_for_does_no_harm(nsqd):
    async def main():
        async with rigged(options_of(nsqd, auth="s3cret")) as rig:
            assert isinstance((await (await rig.publisher()).publish(TOPIC, [outgoing()]))[0], str)

    asyncio.run(main())


def test_the_secret_is_in_no_text():
    assert "s3cret" not in repr(Security(None, "s3cret"))
