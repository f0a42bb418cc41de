"""Secrets in AWS Secrets Manager."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from fastlane.secrets.sources.source import MissingLibrary, Reading, Source, Unreachable, library

__all__ = ["AwsSource"]

AT_ONCE = 10
"""Requests in flight."""

SECONDS = 10.0
"""For one request, and for a connection."""

_ABSENT = {
    "ResourceNotFoundException": "there is no such secret",
    "AccessDeniedException": "reading it is forbidden (secretsmanager:GetSecretValue)",
    "InvalidRequestException": "it is being deleted, or has no value",
    "InvalidParameterException": "its name is none",
    "DecryptionFailure": "it can't be decrypted (kms:Decrypt)",
    "ValidationException": "its name is none",
    "UnrecognizedClientException": "the credentials were refused",
    "InvalidSignatureException": "the credentials were refused",
    "InvalidClientTokenId": "the credentials were refused",
    "ExpiredTokenException": "the credentials have expired",
}


class AwsSource(Source):
    """One ``GetSecretValue`` for each secret. What is not configured, botocore's own chain decides."""

    default_refresh: ClassVar[float | None] = 300.0

    def check(self) -> Sequence[str]:
        try:
            library("aiobotocore.session", "aws")
        except MissingLibrary as error:
            return (str(error),)
        return ()

    async def read(self, names: Sequence[str]) -> Reading:
        session = library("aiobotocore.session", "aws").get_session()
        settings = library("aiobotocore.config", "aws").AioConfig(
            connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2, "mode": "standard"}
        )
        faults = library("botocore.exceptions", "aws")
        options = self.options
        gate = asyncio.Semaphore(AT_ONCE)
        # A secret may hold several of ours, each under its key: it is asked for once.
        wanted = sorted({self.called(name) for name in names})

        async def one(client: Any, called: str) -> str | Exception:
            async with gate:
                try:
                    answer = await client.get_secret_value(SecretId=called)
                except faults.ClientError as error:
                    reason = _ABSENT.get(error.response.get("Error", {}).get("Code", ""))
                    if reason is None:
                        raise
                    return ValueError(reason)
            if "SecretString" in answer:
                return str(answer["SecretString"])
            try:
                return bytes(answer["SecretBinary"]).decode()
            except UnicodeDecodeError:
                return ValueError("it is binary, and no UTF-8 text")

        try:
            async with session.create_client(
                "secretsmanager",
                region_name=options.region,
                endpoint_url=options.endpoint_url,
                aws_access_key_id=options.access_key_id,
                aws_secret_access_key=options.secret_access_key,
                config=settings,
            ) as client:
                answers = dict(
                    zip(wanted, await asyncio.gather(*(one(client, called) for called in wanted)), strict=True)
                )
        except (faults.NoRegionError, faults.NoCredentialsError, faults.PartialCredentialsError) as error:
            return Reading({}, dict.fromkeys(names, f"Secrets Manager can't be asked: {error}".rstrip(".")))
        except (faults.ClientError, faults.BotoCoreError, OSError) as error:
            raise Unreachable(f"Secrets Manager: {error}") from error
        return self._reading(names, answers, "Secrets Manager")

    def place(self, name: str) -> str:
        key = self.key(name)
        return f"AWS Secrets Manager, {self.called(name)}" + (f", key {key}" if key else "")

    def mend(self, name: str) -> str:
        return f"aws secretsmanager create-secret --name {self.called(name)} --secret-string …"
