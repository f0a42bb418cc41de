"""The HTTP side of nsqd and nsqlookupd: short requests, each with an end."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable

__all__ = ["Http"]

_TIMEOUT = 5.0
_LARGEST = 64 * 1024 * 1024


class Http:
    """Requests to any number of servers. Used on one event loop; `close` it.

    Args:
        tls: for addresses that begin with ``https://``.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def get(self, address: str, path: str, query: Mapping[str, str]) -> Any:
        """The decoded answer; None when there is no such thing (404)."""
        return await self._request("GET", address, path, query)

    async def post(self, address: str, path: str, query: Mapping[str, str]) -> Any:
        """As `get`."""
        return await self._request("POST", address, path, query)

    async def _request(self, method: str, address: str, path: str, query: Mapping[str, str]) -> Any:
        """
        Args:
            address: ``host:port``, or with ``http://`` or ``https://`` before it.

        Raises:
            BrokerUnavailable: no answer within five seconds, or one that is none of NSQ's.
            BrokerForbidden: 401 or 403, from a proxy before it.
        """
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT, sock_connect=2.0)
            # No connection is kept: over one that nsqd has closed meanwhile a POST would fail.
            connector = aiohttp.TCPConnector(force_close=True)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        url = (address if "://" in address else f"http://{address}").rstrip("/") + path
        try:
            async with self._session.request(method, url, params=query, ssl=self._tls or True) as answer:
                body = bytearray()
                async for piece in answer.content.iter_chunked(65536):
                    body += piece
                    if len(body) > _LARGEST:
                        raise BrokerUnavailable(f"{url} answered more than {_LARGEST} bytes")
                status = answer.status
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            raise BrokerUnavailable(f"{url} can't be reached: {str(cause) or 'no answer in time'}") from error
        if status == 404:
            return None
        if status in (401, 403):
            raise BrokerForbidden(f"{url} answered {status}")
        if not 200 <= status < 300:
            raise BrokerUnavailable(f"{url} answered {status}: {bytes(body[:200]).decode('utf-8', 'replace')}")
        if not body.strip():
            return {}
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise BrokerUnavailable(f"{url} answered no JSON: is it the HTTP port?") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
