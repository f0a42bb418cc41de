"""Secret Manager's REST interface, played by a small server: Google has no emulator of it."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fastlane.resources.configuration import SecretsOptions
from fastlane.secrets.sources import Unreachable
from fastlane.secrets.sources.gcp import GcpSource
from tests.servers.spawned import free_port


class Manager(ThreadingHTTPServer):
    """Has ``secrets``: the path of a version and its bytes, or the status it is answered with."""

    secrets: dict[str, bytes | int]
    headers: list[str | None]


class _Handler(BaseHTTPRequestHandler):
    server: Manager

    def do_GET(self) -> None:
        self.server.headers.append(self.headers.get("Authorization"))
        found = self.server.secrets.get(self.path, 404)
        body = b"{}"
        if isinstance(found, bytes):
            document = {"name": self.path, "payload": {"data": base64.b64encode(found).decode(), "dataCrc32c": "0"}}
            body = json.dumps(document).encode()
        self.send_response(found if isinstance(found, int) else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        assert self.path == "/token"
        assert b"assertion=" in self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def manager() -> Iterator[Manager]:
    server = Manager(("127.0.0.1", 0), _Handler)
    server.secrets, server.headers = {}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def source(port: int, **options: Any) -> GcpSource:
    endpoint = f"http://127.0.0.1:{port}"
    return GcpSource(SecretsOptions(provider="gcp", project="my-project", endpoint=endpoint, **options))


def test_the_latest_version_is_read_or_the_one_that_is_asked_for(manager: Manager) -> None:
    place = "/v1/projects/my-project/secrets"
    manager.secrets = {
        f"{place}/app-MAIL_KEY/versions/latest:access": "pläin".encode(),
        f"{place}/pinned/versions/3:access": b"third",
        f"{place}/all/versions/latest:access": b'{"token": "inside"}',
        f"{place}/app-SECRET/versions/latest:access": 403,
        f"{place}/app-BINARY/versions/latest:access": b"\xff",
    }
    found = source(manager.server_port, prefix="app-", names={"PINNED": "pinned@3", "TOKEN": "all#token"})
    values, missing = asyncio.run(found.read(["MAIL_KEY", "PINNED", "TOKEN", "SECRET", "BINARY", "NONE"]))
    assert values == {"MAIL_KEY": "pläin", "PINNED": "third", "TOKEN": "inside"}
    assert missing == {
        "SECRET": "Secret Manager, 'app-SECRET': reading it is forbidden (secretmanager.versions.access)",
        "BINARY": "Secret Manager, 'app-BINARY': it is no UTF-8 text",
        "NONE": "Secret Manager, 'app-NONE': there is no such secret, or it has no version",
    }
    assert set(manager.headers) == {None}
    assert found.place("TOKEN") == "Google Secret Manager, my-project/all, key token"
    assert found.mend("PINNED").startswith("gcloud secrets create pinned --project my-project")


def test_a_secret_that_is_empty_is_missing_as_it_is_with_every_provider(manager: Manager) -> None:
    place = "/v1/projects/my-project/secrets"
    manager.secrets = {
        f"{place}/A/versions/latest:access": b"",
        f"{place}/all/versions/latest:access": b'{"token": ""}',
    }
    found = source(manager.server_port, names={"TOKEN": "all#token"})
    values, missing = asyncio.run(found.read(["A", "TOKEN"]))
    assert values == {}
    assert missing == {"A": "Secret Manager, 'A': it is empty", "TOKEN": "Secret Manager, 'all': it is empty"}


def test_with_credentials_a_token_is_fetched_and_sent(manager: Manager, tmp_path: Path) -> None:
    manager.secrets["/v1/projects/my-project/secrets/A/versions/latest:access"] = b"value"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "client_email": "app@my-project.iam.gserviceaccount.com",
        "private_key": pem.decode(),
        "private_key_id": "1",
        "token_uri": f"http://127.0.0.1:{manager.server_port}/token",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    found = source(manager.server_port, credentials=str(tmp_path / "account.json"))
    assert asyncio.run(found.read(["A"])).values == {"A": "value"}
    assert manager.headers == ["Bearer a-token"]


def test_a_server_in_trouble_or_none_at_all_may_answer_later(manager: Manager) -> None:
    manager.secrets["/v1/projects/my-project/secrets/A/versions/latest:access"] = 503
    with pytest.raises(Unreachable, match="Secret Manager answered 503"):
        asyncio.run(source(manager.server_port).read(["A"]))
    with pytest.raises(Unreachable, match="Secret Manager: "):
        asyncio.run(source(free_port()).read(["A"]))


def test_credentials_that_are_not_there_are_told_before_anything_is_read(tmp_path: Path) -> None:
    (mistake,) = source(1, credentials=str(tmp_path / "none.json")).check()
    assert "there is no file" in mistake
    (tmp_path / "some.json").write_text("{}")
    assert source(1, credentials=str(tmp_path / "some.json")).check() == ()
