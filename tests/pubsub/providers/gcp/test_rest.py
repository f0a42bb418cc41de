from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.gcp import GcpProvider, rest
from fastlane.pubsub.providers.gcp.failures import Answered, as_publisher, told
from fastlane.pubsub.providers.gcp.pulling import Pulling
from fastlane.pubsub.providers.gcp.rest import Rest
from fastlane.resources.configuration import GcpOptions
from tests.pubsub.providers.gcp.rig import bound_topic, outgoing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def google(**handlers: Handler) -> AsyncIterator[str]:
    """Answers as Google does where the emulator can't: ``token`` at ``/token``, ``pubsub`` at everything else."""
    app = web.Application()
    if "token" in handlers:
        app.router.add_post("/token", handlers["token"])
    app.router.add_route("*", "/{rest:.*}", handlers["pubsub"])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


def account(path: Path, url: str) -> str:
    """The file of a service account whose tokens come from ``url``."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    text = {"type": "service_account", "client_email": "a@b", "private_key": key.decode(), "private_key_id": "1"}
    path.write_text(json.dumps(text | {"token_uri": f"{url}/token", "project_id": "p"}))
    return str(path)


def test_a_token_is_fetched_once_for_all_and_no_caller_ends_it_for_the_others(tmp_path, monkeypatch):
    fetched: list[str] = []
    seen: list[str | None] = []

    async def main():
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def token(request: web.Request) -> web.StreamResponse:
            fetched.append(request.path)
            asked.set()
            await go_on.wait()
            return web.json_response({"access_token": "t0ken", "expires_in": 3600})

        async def pubsub(request: web.Request) -> web.StreamResponse:
            seen.append(request.headers.get("Authorization"))
            return web.json_response({})

        async with google(token=token, pubsub=pubsub) as url:
            monkeypatch.setattr(rest, "GOOGLE", url)
            monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
            one = Rest("gcp", GcpOptions(project="p", credentials=account(tmp_path / "a.json", url)), connections=4)
            assert not one.emulated
            calls = [asyncio.ensure_future(one.call("GET", "projects/p/topics/t", None, dict)) for _ in range(3)]
            await asked.wait()
            calls[0].cancel()
            await asyncio.wait([calls[0]])
            go_on.set()
            assert await asyncio.gather(*calls[1:]) == [{}, {}]
            assert await one.call("GET", "projects/p/topics/t", None, dict) == {}
            await one.close()

    asyncio.run(main())
    assert fetched == ["/token"]
    assert seen == ["Bearer t0ken"] * 3


def test_closing_ends_a_token_that_is_being_fetched(tmp_path, monkeypatch):
    async def main():
        asked = asyncio.Event()

        async def token(request: web.Request) -> web.StreamResponse:
            asked.set()
            await asyncio.sleep(60)
            return web.json_response({})

        async with google(token=token, pubsub=token) as url:
            monkeypatch.setattr(rest, "GOOGLE", url)
            monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
            one = Rest("gcp", GcpOptions(project="p", credentials=account(tmp_path / "a.json", url)), connections=4)
            call = asyncio.ensure_future(one.call("GET", "projects/p/topics/t", None, dict))
            await asked.wait()
            call.cancel()
            await one.close()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())


@pytest.mark.parametrize(("status", "verdict"), [(400, "forbidden"), (503, "unavailable"), (200, "unavailable")])
def test_a_token_that_is_not_given_says_nothing_of_what_was_answered(tmp_path, monkeypatch, status, verdict):
    async def no_wait(*_: object) -> None:
        return None

    async def main():
        async def token(request: web.Request) -> web.StreamResponse:
            return web.json_response({"error": "canary"}, status=status)

        async with google(token=token, pubsub=token) as url:
            monkeypatch.setattr(rest, "GOOGLE", url)
            monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
            one = Rest("gcp", GcpOptions(project="p", credentials=account(tmp_path / "a.json", url)), connections=4)
            assert one._token is not None
            # gcloud-aio tries five times, with seconds between them.
            monkeypatch.setattr(type(one._token).acquire_access_token.retry, "sleep", no_wait)
            with pytest.raises(Answered, match="no access token") as caught:
                await one.call("GET", "projects/p/topics/t", None, dict)
            assert caught.value.verdict == verdict
            assert "canary" not in caught.value.text
            await one.close()

    asyncio.run(main())


@pytest.mark.parametrize("content", [None, "canary", '{"type": "canary"}'])
def test_credentials_that_can_not_be_read_say_what_to_give(tmp_path, monkeypatch, content):
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)

    async def main():
        with pytest.raises(ConfigurationError, match="gcloud auth application-default login") as caught:
            await GcpProvider("gcp", GcpOptions(project="p", credentials=str(path))).open_publisher()
        assert "canary" not in str(caught.value)

    asyncio.run(main())


def body(status: str, message: str = "", **metadata: str) -> bytes:
    details: list[dict[str, Any]] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "metadata": metadata}]
    return json.dumps({"error": {"status": status, "message": message, "details": details}}).encode()


@pytest.mark.parametrize(
    ("status", "content", "verdict", "text"),
    [
        (401, body("UNAUTHENTICATED"), "forbidden", "UNAUTHENTICATED"),
        (403, body("PERMISSION_DENIED", "not authorized\nmore"), "forbidden", "PERMISSION_DENIED: not authorized"),
        (404, body("NOT_FOUND", "Resource not found"), "missing", "NOT_FOUND: Resource not found"),
        (409, body("ALREADY_EXISTS"), "exists", "ALREADY_EXISTS"),
        (409, body("ABORTED"), "unavailable", "ABORTED"),
        (429, body("RESOURCE_EXHAUSTED"), "unavailable", "RESOURCE_EXHAUSTED"),
        (503, b"<html>", "unavailable", "status 503"),
        (400, body("INVALID_ARGUMENT", "x" * 400), "refused", "INVALID_ARGUMENT: " + "x" * 300),
    ],
)
def test_an_answer_has_a_verdict(status, content, verdict, text):
    answered = Answered.of(status, content)
    assert (answered.verdict, answered.text) == (verdict, text)


@pytest.mark.parametrize(
    ("verdict", "consuming", "publishes"),
    [
        ("unavailable", BrokerUnavailable, BrokerUnavailable),
        ("missing", BrokerUnavailable, PublishRefused),
        ("forbidden", BrokerForbidden, PublishRefused),
        ("refused", ConfigurationError, PublishRefused),
    ],
)
def test_a_verdict_is_told_in_our_words(verdict, consuming, publishes):
    assert type(told("topic x", Answered(verdict, "why"))) is consuming
    assert type(as_publisher("topic x", Answered(verdict, "why"))) is publishes
    assert str(told("topic x", Answered(verdict, "why"))).startswith("topic x: why")


def test_acknowledgements_that_google_refuses_are_lost_and_those_for_later_are_not():
    """Of an exactly-once subscription; the emulator names none."""
    answers = [
        (400, body("FAILED_PRECONDITION", "", one="PERMANENT_FAILURE_INVALID_ACK_ID")),
        (400, body("FAILED_PRECONDITION", "", one="TRANSIENT_FAILURE_INTERNAL")),
        (503, b""),
        (200, b""),
        (200, b"[]"),
    ]

    async def main():
        async def pubsub(request: web.Request) -> web.StreamResponse:
            status, content = answers.pop(0)
            return web.Response(status=status, body=content)

        async with google(pubsub=pubsub) as url:
            one = Rest("gcp", GcpOptions(project="p", endpoint=url), connections=4)
            pulling = Pulling(one, "s")
            assert await pulling.acknowledge(["one", "two"]) == {"one"}
            with pytest.raises(BrokerUnavailable, match="subscription s: FAILED_PRECONDITION"):
                await pulling.acknowledge(["one", "two"])
            with pytest.raises(BrokerUnavailable, match="subscription s: status 503"):
                await pulling.acknowledge(["one", "two"])
            assert await pulling.acknowledge(["one", "two"]) == set()
            with pytest.raises(BrokerUnavailable, match="an answer that is none of Pub/Sub's"):
                await pulling.acknowledge(["one", "two"])
            await one.close()

    asyncio.run(main())


def test_one_that_google_refuses_does_not_take_the_others_with_it():
    taken: list[str] = []

    async def main():
        async def pubsub(request: web.Request) -> web.StreamResponse:
            messages = (await request.json())["messages"]
            if any(message["data"] == b64encode(b"bad").decode() for message in messages):
                return web.Response(status=400, body=body("INVALID_ARGUMENT", "bad"))
            taken.extend(message["orderingKey"] for message in messages)
            return web.json_response({"messageIds": [str(len(taken))] * len(messages)})

        async with google(pubsub=pubsub) as url:
            publisher = await GcpProvider("gcp", GcpOptions(project="p", endpoint=url)).open_publisher()
            answers = await publisher.publish(
                bound_topic(ordered=True),
                [
                    outgoing(b"1", ordering_key="a"),
                    outgoing(b"bad", ordering_key="b"),
                    outgoing(b"2", ordering_key="b"),
                    outgoing(b"3", ordering_key="c"),
                ],
            )
            assert [isinstance(answer, str) for answer in answers] == [True, False, False, True]
            assert isinstance(answers[1], PublishRefused)
            assert answers[2] is answers[1]
            await publisher.close()

    asyncio.run(main())
    assert taken == ["a", "c"]


def test_ids_that_do_not_fit_the_messages_are_no_answer():
    async def main():
        async def pubsub(request: web.Request) -> web.StreamResponse:
            return web.json_response({"messageIds": []})

        async with google(pubsub=pubsub) as url:
            publisher = await GcpProvider("gcp", GcpOptions(project="p", endpoint=url)).open_publisher()
            [answer] = await publisher.publish(bound_topic(), [outgoing()])
            assert isinstance(answer, BrokerUnavailable)
            await publisher.close()

    asyncio.run(main())
