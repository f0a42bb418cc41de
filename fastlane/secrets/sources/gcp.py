"""Secrets in Google Secret Manager, over its REST interface."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from fastlane.secrets.sources.source import MissingLibrary, Reading, Source, Unreachable, library

__all__ = ["GcpSource"]

ENDPOINT = "https://secretmanager.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AT_ONCE = 10
"""Requests in flight."""

SECONDS = 10.0
"""For one request."""

_ABSENT = {
    400: "its name is none, or its latest version is disabled",
    401: "the credentials were refused",
    403: "reading it is forbidden (secretmanager.versions.access)",
    404: "there is no such secret, or it has no version",
}


class GcpSource(Source):
    """The latest version of each secret. A name ``MAIL_KEY@3`` in ``names`` asks for a version.

    An ``endpoint`` of ``http://`` stands in for Google: without ``credentials`` it is asked without a token.
    """

    default_refresh: ClassVar[float | None] = 300.0

    def check(self) -> Sequence[str]:
        try:
            library("gcloud.aio.auth", "gcp")
            library("aiohttp", "gcp")
        except MissingLibrary as error:
            return (str(error),)
        credentials = self.options.credentials
        if credentials is not None and not os.path.isfile(credentials):
            return (f"[secrets] credentials: there is no file {credentials!r}\n    mend: correct the path",)
        return ()

    async def read(self, names: Sequence[str]) -> Reading:
        aiohttp = library("aiohttp", "gcp")
        wanted = sorted({self.called(name) for name in names})
        gate = asyncio.Semaphore(AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                headers = await self._headers(session)

                async def one(called: str) -> str | Exception:
                    async with gate, session.get(self._url(called), headers=headers) as answer:
                        return _payload(answer.status, await answer.read())

                answers = dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"Secret Manager: {error or type(error).__name__}") from error
        return self._reading(names, answers, "Secret Manager")

    def place(self, name: str) -> str:
        key = self.key(name)
        return f"Google Secret Manager, {self.options.project}/{self.called(name)}" + (f", key {key}" if key else "")

    def mend(self, name: str) -> str:
        secret = self.called(name).partition("@")[0]
        return f"gcloud secrets create {secret} --project {self.options.project} --data-file=- (the value on its input)"

    async def _headers(self, session: Any) -> dict[str, str]:
        if (self.options.endpoint or "").startswith("http://") and self.options.credentials is None:
            return {}
        auth = library("gcloud.aio.auth", "gcp")
        token = auth.Token(service_file=self.options.credentials, session=session, scopes=[SCOPE])
        return {"Authorization": f"Bearer {await token.get()}"}

    def _url(self, called: str) -> str:
        secret, _, version = called.partition("@")
        endpoint = (self.options.endpoint or ENDPOINT).rstrip("/")
        path = "/".join(quote(part, safe="") for part in ("projects", str(self.options.project), "secrets", secret))
        return f"{endpoint}/v1/{path}/versions/{quote(version or 'latest', safe='')}:access"


def _payload(status: int, body: bytes) -> str | Exception:
    """The value, or why there is none.

    Raises:
        Unreachable: a status that may pass.
    """
    if status in _ABSENT:
        return ValueError(_ABSENT[status])
    if status != 200:
        raise Unreachable(f"Secret Manager answered {status}")
    try:
        return base64.b64decode(json.loads(body)["payload"]["data"], validate=True).decode()
    except (ValueError, LookupError, TypeError, binascii.Error):
        return ValueError("it is no UTF-8 text")
