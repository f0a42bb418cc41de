"""Secrets Manager, as moto's server plays it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiobotocore.session import get_session

from fastlane.resources.configuration import SecretsOptions
from fastlane.secrets.sources import Unreachable
from fastlane.secrets.sources.aws import AwsSource
from tests.servers.moto import MotoServer
from tests.servers.spawned import free_port

CREDENTIALS = {"access_key_id": "key", "secret_access_key": "s3cret-acc3ss"}


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


def source(url: str, **options: Any) -> AwsSource:
    return AwsSource(
        SecretsOptions(provider="aws", region="eu-north-1", endpoint_url=url, **{**CREDENTIALS, **options})
    )


async def put(url: str, **secrets: str | bytes) -> None:
    session = get_session()
    async with session.create_client(
        "secretsmanager",
        region_name="eu-north-1",
        endpoint_url=url,
        aws_access_key_id="key",
        aws_secret_access_key="s3cret-acc3ss",
    ) as client:
        for name, value in secrets.items():
            await client.create_secret(
                Name=name, **({"SecretString": value} if isinstance(value, str) else {"SecretBinary": value})
            )


def test_each_secret_is_read_by_its_name_or_from_inside_another(moto: MotoServer) -> None:
    moto.reset()
    found = source(moto.url, prefix="prod-", names={"TOKEN": "app#token", "LOST": "app#lost"})

    async def run() -> None:
        await put(moto.url, app='{"token": "inside"}', **{"prod-MAIL_KEY": "plain", "prod-BYTES": b"bytes"})
        await put(moto.url, **{"prod-BINARY": b"\xff\xfe"})
        values, missing = await found.read(["MAIL_KEY", "TOKEN", "LOST", "BYTES", "BINARY", "NONE"])
        assert values == {"MAIL_KEY": "plain", "TOKEN": "inside", "BYTES": "bytes"}
        assert missing == {
            "LOST": "Secrets Manager, 'app': it has no text under the key 'lost'",
            "BINARY": "Secrets Manager, 'prod-BINARY': it is binary, and no UTF-8 text",
            "NONE": "Secrets Manager, 'prod-NONE': there is no such secret",
        }

    assert found.check() == ()
    asyncio.run(run())
    assert found.place("TOKEN") == "AWS Secrets Manager, app, key token"
    assert found.mend("NONE") == "aws secretsmanager create-secret --name prod-NONE --secret-string …"


def test_where_nobody_answers_nothing_is_said_about_the_secrets() -> None:
    with pytest.raises(Unreachable, match="Secrets Manager: "):
        asyncio.run(source(f"http://127.0.0.1:{free_port()}").read(["A"]))


def test_without_a_region_or_credentials_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    _, missing = asyncio.run(AwsSource(SecretsOptions(provider="aws", **CREDENTIALS)).read(["A"]))  # type: ignore[arg-type]
    assert missing == {"A": "Secrets Manager can't be asked: You must specify a region"}
