"""Requests to Pub/Sub: one HTTP session, and a token that is fetched when it is needed."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Literal, TypeVar

import aiohttp
import msgspec
from gcloud.aio.auth import AioSession, Token

from fastlane.errors import ConfigurationError
from fastlane.pubsub.providers.gcp.failures import Answered
from fastlane.resources.configuration import GcpOptions

__all__ = ["Rest"]

T = TypeVar("T")
GOOGLE = "https://pubsub.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/pubsub"
_encoder = msgspec.json.Encoder()


class Rest:
    """Used on the event loop on which it was made. An emulator gets no token.

    Args:
        name: of the provider, for texts.
        connections: at most.

    Attributes:
        project: the project's id.
        emulated: it is not Google that answers.

    Raises:
        ConfigurationError: the credentials can't be read.
    """

    def __init__(self, name: str, options: GcpOptions, *, connections: int) -> None:
        host = os.environ.get("PUBSUB_EMULATOR_HOST")
        endpoint = options.endpoint or (f"http://{host}" if host else None)
        self.project = options.project
        self.emulated = endpoint is not None
        self._root = f"{(endpoint or GOOGLE).rstrip('/')}/v1/"
        self._fetching: asyncio.Task[str | None] | None = None
        self._token = None if self.emulated else _token(name, options.credentials)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections), headers={"Content-Type": "application/json"}
        )
        if self._token is not None:
            session: Any = self._session  # annotated as a type of its own for requests
            self._token.session = AioSession(session)

    async def call(
        self,
        method: Literal["GET", "POST", "PUT", "PATCH"],
        path: str,
        body: Any,
        answer: type[T] | msgspec.json.Decoder[T],
        *,
        timeout: float = 10.0,
    ) -> T:
        """One request, no retry: the core tries again.

        Raises:
            Answered: it did not succeed.
        """
        headers = {"Authorization": f"Bearer {await self._bearer()}"} if self._token is not None else None
        data = None if method == "GET" else _encoder.encode(body)
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=5.0)
        try:
            async with self._session.request(
                method, self._root + path, data=data, headers=headers, timeout=limits
            ) as response:
                content = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Answered("unavailable", f"can't be reached ({type(error).__name__})") from None
        if status >= 300:
            raise Answered.of(status, content)
        try:
            decoder = answer if isinstance(answer, msgspec.json.Decoder) else msgspec.json.Decoder(answer)
            return decoder.decode(content or b"{}")
        except msgspec.MsgspecError:
            raise Answered("unavailable", "an answer that is none of Pub/Sub's") from None

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._session.close()

    async def _bearer(self) -> str | None:
        token = self._token
        assert token is not None
        if token.access_token is not None and time.time() < token.access_token_refresh_after:
            return await token.get()
        # One for all who wait, and not ended by the cancellation of one of them.
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.ensure_future(token.get())
        try:
            return await asyncio.shield(self._fetching)
        except aiohttp.ClientResponseError as error:
            # Its text contains the answer of the token's server.
            refused = 400 <= error.status < 500 and error.status not in (408, 429)
            verdict: Literal["forbidden", "unavailable"] = "forbidden" if refused else "unavailable"
            raise Answered(verdict, f"no access token was given (status {error.status})") from None
        except Exception as error:
            raise Answered("unavailable", f"no access token could be fetched ({type(error).__name__})") from None


def _token(name: str, credentials: str | None) -> Token:
    """Opens nothing yet."""
    try:
        token = Token(service_file=credentials, scopes=[SCOPE])
        # A file that is no JSON counts as none, and what it was meant to say is looked for at the metadata server.
        if credentials is None or token.service_data:
            return token
        problem = "no JSON"
    except Exception as error:
        problem = type(error).__name__
    raise ConfigurationError(
        f"provider {name}: the credentials can't be read ({problem})"
        "\n    mend: give the provider the path of a service account's JSON file as credentials, set "
        "GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`"
    )
