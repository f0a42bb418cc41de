"""Sessions and clients: who we are at AWS, and how long we wait for it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any, TypeAlias

import aiobotocore
from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import NoCredentialsError
from botocore.loaders import Loader

from fastlane.pubsub.providers.aws.failures import talking
from fastlane.pubsub.providers.aws.names import Account
from fastlane.resources.configuration import AwsOptions

__all__ = ["POLL", "Client", "Clients"]

Client: TypeAlias = Any
POLL = 20
"""Seconds of a long poll: the most that SQS takes."""

# PERF: the descriptions of the services are read where this module is imported: in the template, once for all workers.
# Each session with a loader of its own costs 90 ms and 9 MB per worker, on the event loop.
_LOADER = Loader()


_USER_AGENT = f"fastlane/{version('fastlane-asgi')} aiobotocore/{aiobotocore.__version__}"


def _load() -> None:
    session = get_session()
    session.register_component("data_loader", _LOADER)
    for service in ("sns", "sqs", "sts"):
        session.warm_up_loader_caches(service)


_load()


class Clients:
    """Makes clients with the provider's options, and closes them all. Used on one event loop.

    Args:
        name: of the provider, for texts.
        options: what they leave out, botocore's chain decides, also how credentials are refreshed.
    """

    def __init__(self, name: str, options: AwsOptions) -> None:
        self.name = name
        self._options = options
        self._session: AioSession | None = None
        self._stack = AsyncExitStack()
        self._account: Account | None = None
        self._sts: Client = None

    async def open(self, service: str, *, read_timeout: float, connections: int, tries: int = 2) -> Client:
        """A client of ``sns``, ``sqs`` or ``sts``.

        Args:
            read_timeout: seconds until an answer has to begin.
            connections: at most.
            tries: of a request that could not be sent or was throttled. The core tries again, too, but a connection
                that was closed while it was idle should not cost its wait.
        """
        if self._session is None:
            self._session = _new_session()
            if self._options.role_arn is not None:
                self._session.register_component("credential_provider", _AssumedRole(self._options))
        config = AioConfig(
            max_pool_connections=connections,
            connect_timeout=5,
            read_timeout=read_timeout,
            retries={"total_max_attempts": tries, "mode": "standard"},
            tcp_keepalive=True,
            # PERF: 11 % and 5 % of a call's CPU: botocore checks what is always of the right type, and AWS looks again;
            # and it puts the text about itself together anew, twice for each request.
            parameter_validation=False,
            user_agent=None if self._session.get_config_variable("user_agent_appid") else _USER_AGENT,
        )
        # With a role they are those of who assumes it.
        keys = _keys(self._options) if self._options.role_arn is None else {}
        with talking(f"provider {self.name}"):
            return await self._stack.enter_async_context(
                self._session.create_client(service, config=config, **_place(self._options), **keys)
            )

    async def account(self) -> Account:
        """Whose topics and queues they are."""
        if self._account is None:
            self._sts = self._sts or await self.open("sts", read_timeout=10, connections=1)
            with talking(f"provider {self.name}: whose account it is"):
                identity = await self._sts.get_caller_identity()
            partition = identity["Arn"].split(":")[1]
            self._account = Account(partition, self._sts.meta.region_name, identity["Account"])
        return self._account

    async def close(self) -> None:
        await self._stack.aclose()


def _new_session() -> AioSession:
    session = get_session()
    session.register_component("data_loader", _LOADER)
    return session


def _place(options: AwsOptions) -> dict[str, str | None]:
    return {"region_name": options.region, "endpoint_url": options.endpoint_url}


def _keys(options: AwsOptions) -> dict[str, str | None]:
    return {"aws_access_key_id": options.access_key_id, "aws_secret_access_key": options.secret_access_key}


class _AssumedRole:
    """Stands in the place of botocore's chain: a role, assumed by whom the options or the chain say we are."""

    def __init__(self, options: AwsOptions) -> None:
        self._options = options

    async def load_credentials(self) -> AioDeferredRefreshableCredentials:
        """They fetch themselves when they are first used, and again some minutes before they expire."""
        fetcher = AioAssumeRoleCredentialFetcher(
            client_creator=self._client,
            source_credentials=self,
            role_arn=self._options.role_arn,
            extra_args={"RoleSessionName": "fastlane"},
        )
        return AioDeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)

    async def get_frozen_credentials(self) -> Any:
        """Of who assumes the role: `AioAssumeRoleCredentialFetcher` asks for them each time that it does."""
        session = _new_session()
        if self._options.access_key_id is not None:
            session.set_credentials(self._options.access_key_id, self._options.secret_access_key)
        credentials = await session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return await credentials.get_frozen_credentials()

    def _client(self, service: str, **keys: Any) -> Any:
        return _new_session().create_client(service, **_place(self._options), **keys)
