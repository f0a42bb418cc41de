"""The example of signups: the same file on every broker, by configuration alone.

The embedded default always; the brokers that ``FASTLANE_BROKERS`` names as tests/conformance does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from fastlane.testing import TestClient
from tests.conformance.brokers import CHOSEN
from tests.examples.conftest import EXAMPLES, ImportExample, ServeExample, fastlane
from tests.processes.served import wait_until
from tests.servers.gcp_emulator import GcpEmulator
from tests.servers.moto import MotoServer
from tests.servers.nsq import Nsqd

SIGNUPS = EXAMPLES / "signups"

Environment = dict[str, str]


def nsq(directory: Path) -> Iterator[Environment]:
    server = Nsqd(directory / "nsqd")
    server.http = server.tcp + 1  # as nsqd has it by default
    server.start()
    try:
        yield {"NSQD_ADDRESS": server.address}
    finally:
        server.stop()


def aws(directory: Path) -> Iterator[Environment]:
    with MotoServer() as server:
        yield {"AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def gcp(directory: Path) -> Iterator[Environment]:
    with GcpEmulator() as server:
        yield {"PUBSUB_EMULATOR_HOST": f"{server.host}:{server.port}", "GOOGLE_CLOUD_PROJECT": "signups"}


BROKERS = {"nsq": nsq, "aws": aws, "gcp": gcp}


@pytest.fixture(params=["embedded", *(kind for kind in BROKERS if kind in CHOSEN)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[list[str], Environment]]:
    """The options that choose it, and the variables that its configuration refers to."""
    if request.param == "embedded":
        yield ["--embedded"], {}
        return
    for environment in BROKERS[request.param](tmp_path):
        yield ["--config", f"{request.param}.toml"], environment


@pytest.mark.process
def test_a_signup_is_mailed_and_a_refused_address_is_among_the_dead_letters(
    broker: tuple[list[str], Environment], serve_example: ServeExample
) -> None:
    options, environment = broker

    def pubsub(command: str, *words: str) -> str:
        return fastlane(SIGNUPS, "pubsub", command, "signups:app", *words, *options, **environment)

    if options != ["--embedded"]:
        assert "user-signups" in pubsub("provision")
        assert pubsub("provision") == "everything is there\n"
    served = serve_example("signups", *options, **environment)

    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False) as client:
        answers = [client.post("/signups", json={"email": f"user{number}@example.org"}) for number in range(10)]
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["message_id"] for answer in answers}) == 10
        refused = client.post("/signups", json={"email": "eve@invalid.example", "country": "no"}).json()
        assert client.post("/signups", json={"email": "nobody"}).status_code == 422

    for number in range(10):
        served.wait_for(rf"mail to user{number}@example\.org: welcome", 60)
    for answer in answers:
        served.wait_for(f"a signup from Sweden: message {answer.json()['message_id']}", 60)
    assert refused["message_id"] not in "".join(line for line in served.log if "Sweden" in line)

    def dead() -> str:
        listed = pubsub("dead-letters", "send-welcome-mail")
        return listed if refused["message_id"] in listed else ""

    listed = wait_until(dead, 60, "the rejected signup among the dead letters")
    assert "rejected" in listed
    assert "no mail server takes this address" in listed
    assert "\n1 dead letter" in listed
    assert served.stop(30) == 0


@pytest.fixture
def signups(import_example: ImportExample) -> ModuleType:
    return import_example("signups")


def test_in_a_test_it_needs_no_broker(signups: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(signups.app) as client:
        assert client.post("/signups", json={"email": "ada@example.org"}).status_code == 202
        (message,) = signups.user_signups.messages
        assert message.value.email == "ada@example.org"
        client.settle()
    assert any("mail to ada@example.org" in message for message in caplog.messages)
