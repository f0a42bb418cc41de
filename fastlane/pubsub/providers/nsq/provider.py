"""A configured NSQ."""

from __future__ import annotations

import ssl

import msgspec

from fastlane.errors import ConfigurationError
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.provider import Administrator, BoundSubscription, Provider, Publisher, Source
from fastlane.pubsub.providers.nsq.address import Address, Security
from fastlane.pubsub.providers.nsq.administrator import NsqAdministrator
from fastlane.pubsub.providers.nsq.discovery import Directory
from fastlane.pubsub.providers.nsq.http import Http
from fastlane.pubsub.providers.nsq.names import LONGEST, check, dead_name, replay_name
from fastlane.pubsub.providers.nsq.pool import Pool
from fastlane.pubsub.providers.nsq.publisher import NsqPublisher
from fastlane.pubsub.providers.nsq.source import NsqSource
from fastlane.resources.configuration.providers import NsqOptions

__all__ = ["NsqProvider"]


class NsqProvider(Provider):
    """``kind = "nsq"``.

    Attributes:
        heartbeat: seconds between the signs of life of an nsqd, at least 1. After 2.5 of them without any the
            connection is given up.
        lookup_interval: seconds between two questions to nsqlookupd, give or take a fifth.
    """

    capabilities = Capabilities(
        ordering=False,
        blocks_key=False,
        exactly_once=False,
        exact_attempts=False,
        ack_deadline=(1.0, 900.0),
        max_backoff=3600.0,
        max_timeout=900.0,
        max_delay=3600.0,
        ordered_delay=False,
        name_lengths=(1, LONGEST),
        batch_size=1000,
        batch_bytes=4 * 1024 * 1024,
        dead_letters="received",
        emulated=(
            "message ids, attributes and publish times (an envelope)",
            "dead letters (a topic per subscription)",
            "replay to one subscription (another topic per subscription)",
        ),
        loses="what an nsqd holds when it is killed or its host fails: a message is on one nsqd only, in its memory "
        "first. An orderly end of nsqd keeps everything, but forgets delays",
    )
    extra = "nsq"
    heartbeat = 5.0
    lookup_interval = 10.0

    def __init__(self, name: str, options: NsqOptions) -> None:
        super().__init__(name, options)
        where = f"[providers.{name}]"
        try:
            self._nsqd = [Address.parse(text, f"{where} nsqd") for text in options.nsqd]
            self._lookupd = [_http(text, f"{where} lookupd") for text in options.lookupd]
            self._nsqd_http = [_http(text, f"{where} nsqd_http") for text in options.nsqd_http]
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        if not self._nsqd_http and not self._lookupd:
            self._nsqd_http = [str(Address(each.host, each.port + 1)) for each in self._nsqd]
        self._raw = options.envelope == "raw"
        # What nsqd's --max-req-timeout says is not the same everywhere.
        self.capabilities = msgspec.structs.replace(  # type: ignore[misc]  # the class has what holds by default
            type(self).capabilities, max_delay=options.max_delay, max_backoff=options.max_delay
        )

    def default_dead_name(self, physical: str) -> str:
        return dead_name(physical)

    def _security(self) -> Security:
        tls = self.options.tls
        if not tls:
            return Security(None, self.options.auth)
        try:
            context = ssl.create_default_context(cafile=None if tls is True else tls)
        except OSError as error:
            raise ConfigurationError(
                f"[providers.{self.name}] tls = {tls!r} can't be read: {error}\n"
                "    mend: give the path of a certificate authority in PEM, or true"
            ) from error
        return Security(context, self.options.auth)

    def _parts(self) -> tuple[Security, Http, Directory, Pool]:
        security = self._security()
        http = Http(security.tls)
        directory = Directory(self._nsqd, self._lookupd, self.lookup_interval, http)
        return security, http, directory, Pool(directory, security, self.heartbeat)

    async def open_publisher(self) -> Publisher:
        _, http, _, pool = self._parts()
        pool.warm()
        return NsqPublisher(pool, http, raw=self._raw, max_delay=self.options.max_delay)

    async def open_source(self, subscription: BoundSubscription) -> Source:
        for name in (subscription.topic.physical, subscription.physical, subscription.dead):
            check(name, f"the subscription {subscription.source!r}")
        security, http, directory, pool = self._parts()
        source = NsqSource(
            subscription,
            replay_name(subscription.physical),
            directory=directory,
            http=http,
            pool=pool,
            security=security,
            heartbeat=self.heartbeat,
            raw=self._raw,
            max_delay=self.options.max_delay,
        )
        source.start()
        return source

    async def open_administrator(self) -> Administrator:
        security, http, directory, pool = self._parts()
        return NsqAdministrator(
            self._nsqd_http,
            directory=directory,
            http=http,
            pool=pool,
            security=security,
            heartbeat=self.heartbeat,
        )


def _http(text: str, what: str) -> str:
    """``host:port``, or a URL without a path."""
    scheme, separator, rest = text.rpartition("://")
    Address.parse(rest.rstrip("/"), what)
    if separator and scheme not in ("http", "https"):
        raise ValueError(f"{what} = {text!r} is no HTTP address\n    mend: write host:port, such as 127.0.0.1:4151")
    return text
