"""``fastlane dev``: one server process, a new one after every change, and errors that explain themselves."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from .conftest import Fastlane, Write

pytestmark = pytest.mark.process

SECONDS = 40.0
"""How long a line of the log is waited for. A loaded machine is slow, and nothing waits that long otherwise."""

HELLO = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""


LIFESPAN = """
        for answer in ("startup", "shutdown"):
            await receive()
            if answer == "shutdown":
                import asyncio
                await asyncio.sleep(1)
            await send({"type": f"lifespan.{answer}.complete"})
        return
"""


class Dev:
    """A running ``fastlane dev`` whose log can be waited for."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastlane", "dev", "--port", "0", *arguments],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that signals of the test reach these processes alone
        )
        self.seen: list[str] = []
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port = 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The next line of the log that matches."""
        end = time.monotonic() + SECONDS
        while True:
            line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            self.seen.append(line)
            found = re.search(pattern, line)
            if found is not None:
                return found

    def wait_until_it_serves(self) -> None:
        self.port = int(self.wait_for(r"http://127\.0\.0\.1:(\d+)")[1])

    def get(self, path: str = "/") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def dev(directory: Path) -> Iterator[type[Dev]]:
    """Starts ``fastlane dev`` and ends what the test left running."""
    started: list[Dev] = []

    class Started(Dev):
        def __init__(self, *arguments: str) -> None:
            super().__init__(directory, *arguments)
            started.append(self)

    yield Started  # type: ignore[misc]
    for one in started:
        one.end()


def imports_take() -> float:
    """Seconds that a new process needs now, on this machine, before anything of ours is done."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "import fastlane.server.worker"], check=True)
    return time.monotonic() - started


def test_a_change_is_served_by_a_new_process_in_less_than_a_second(dev: type[Dev], directory: Path) -> None:
    (directory / "hello.py").write_text(HELLO)
    running = dev("hello:app")
    running.wait_until_it_serves()
    assert running.get() == (200, "hello")
    durations = []
    for word in ("howdy", "adieu", "salut"):
        started = time.monotonic()
        (directory / "hello.py").write_text(HELLO.replace("hello", word))
        running.wait_for(r"hello\.py changed: starting again")
        running.wait_until_it_serves()
        assert running.get() == (200, word)
        durations.append(time.monotonic() - started - imports_take())
    assert min(durations) < 0.6


def test_a_change_after_a_slow_end_is_noticed_as_soon_as_any_other(dev: type[Dev], directory: Path) -> None:
    slow = HELLO.replace("        raise RuntimeError\n", LIFESPAN)
    (directory / "hello.py").write_text(slow)
    running = dev("hello:app")
    running.wait_until_it_serves()
    (directory / "hello.py").write_text(slow.replace("hello", "howdy"))
    running.wait_for("starting again")
    running.wait_until_it_serves()
    started = time.monotonic()
    (directory / "hello.py").write_text(slow.replace("hello", "salut"))
    running.wait_for("starting again")
    assert time.monotonic() - started < 10.0  # twenty times the end, when that counted


def test_broken_code_is_explained_to_whoever_asks_until_it_is_mended(dev: type[Dev], directory: Path) -> None:
    path = directory / "hello.py"
    path.write_text(HELLO + "def broken(:\n")
    running = dev("hello:app")
    running.wait_until_it_serves()
    status, text = running.get()
    assert status == 500
    assert text.startswith("can't import hello: SyntaxError: invalid syntax")
    assert f"at {path}:7" in text
    path.write_text(HELLO)
    running.wait_for("starting again")
    running.wait_until_it_serves()
    assert running.get() == (200, "hello")


def test_a_start_up_that_fails_is_explained_too(dev: type[Dev], directory: Path) -> None:
    (directory / "hello.py").write_text(
        "async def app(scope, receive, send):\n    await receive()\n    raise KeyError('no database')\n"
    )
    running = dev("hello:app")
    running.wait_until_it_serves()
    status, text = running.get()
    assert status == 500
    assert "KeyError: 'no database'" in text
    assert "hello.py:3" in text


def test_all_compile_errors_are_explained_together(dev: type[Dev], directory: Path) -> None:
    (directory / "blog.py").write_text(
        "from fastlane import App\napp = App()\n"
        "@app.get('/one')\nasync def one(value: 'Nowhere') -> str: ...\n"
        "@app.get('/two')\nasync def two(value) -> str: ...\n"
    )
    running = dev("blog")
    running.wait_until_it_serves()
    _, text = running.get()
    assert "blog.py:3: handler 'one'" in text
    assert "blog.py:5: handler 'two'" in text
    assert text.count("mend: ") == 2


def test_a_404_names_the_near_miss_and_answers_are_checked_at_every_depth(dev: type[Dev], directory: Path) -> None:
    (directory / "blog.py").write_text(
        "from msgspec import Struct\nfrom fastlane import App\napp = App()\n"
        "class Tag(Struct):\n    name: str\n"
        "class Post(Struct):\n    tags: list[Tag]\n"
        "@app.get('/posts')\nasync def posts() -> Post:\n    return Post([Tag(3)])\n"
    )
    running = dev("blog")
    running.wait_until_it_serves()
    status, text = running.get("/posts/")
    assert status == 404
    assert "Did you mean /posts?" in json.loads(text)["detail"]
    assert running.get("/posts")[0] == 500


def test_the_configuration_file_is_not_read(dev: type[Dev], directory: Path) -> None:
    (directory / "fastlane.toml").write_text("this is no TOML")
    (directory / "hello.py").write_text(HELLO)
    running = dev("hello:app")
    running.wait_until_it_serves()
    assert running.get() == (200, "hello")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "TERM"])
def test_a_signal_ends_it_cleanly_and_leaves_no_process(
    dev: type[Dev], directory: Path, number: signal.Signals
) -> None:
    (directory / "hello.py").write_text(HELLO)
    running = dev("hello:app")
    running.wait_until_it_serves()
    os.killpg(running.process.pid, number) if number == signal.SIGINT else running.process.send_signal(number)
    assert running.process.wait(SECONDS) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(running.process.pid, 0)
    assert not any("Traceback" in line for line in running.seen)


def test_the_server_process_ends_when_the_watching_one_is_killed(dev: type[Dev], directory: Path) -> None:
    (directory / "hello.py").write_text(HELLO)
    running = dev("hello:app")
    running.wait_until_it_serves()
    running.process.kill()
    running._reader.join(SECONDS)  # its standard error ends with the last process that has it
    assert not running._reader.is_alive()


def test_a_server_that_ends_by_itself_is_told_of_and_started_again(dev: type[Dev], directory: Path) -> None:
    dying = "if scope['path'] != '/':\n        os.kill(os.getpid(), int(scope['path'][1:]))\n    await send"
    (directory / "hello.py").write_text("import os\n" + HELLO.replace("await send", dying, 1))
    running = dev("hello:app")
    running.wait_until_it_serves()
    for number, name in ((signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")):
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            running.get(f"/{number.value}")
        running.wait_for(f"the application's process was ended by {name}: starting it again in")
        assert running.get() == (200, "hello")


def test_without_reload_the_servers_end_is_the_end(dev: type[Dev], directory: Path) -> None:
    (directory / "hello.py").write_text("import os\n" + HELLO.replace("await send", "os._exit(5)\n    await send", 1))
    running = dev("hello:app", "--no-reload")
    running.wait_until_it_serves()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        running.get()
    assert running.process.wait(SECONDS) == 5


def test_a_port_that_is_taken_ends_with_3_and_another_one_is_proposed(fastlane: Fastlane, write: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = fastlane("dev", "hello:app", "--port", str(port))
    assert outcome.code == 3
    assert outcome.err.startswith(f"fastlane: can't listen on 127.0.0.1:{port}: Address already in use\n")
    assert f"--port {port + 1}" in outcome.err


SECRETIVE = """
from fastlane import App
from fastlane.secrets import Secret

key = Secret("MAIL_KEY")
app = App()

@app.get("/")
async def handler() -> str:
    return key.get()
"""


def test_resources_are_configured_by_the_file_of_development_alone(dev: type[Dev], directory: Path) -> None:
    (directory / "hello.py").write_text(SECRETIVE)
    (directory / "fastlane.toml").write_text("[[ of production, and never read")
    (directory / "fastlane.dev.toml").write_text('[secrets]\nprovider = "dotenv"\npath = "dev.env"\n')
    (directory / "dev.env").write_text("MAIL_KEY=for-development\n")
    running = dev("hello:app")
    running.wait_for("serving hello:app .*, its resources configured by fastlane.dev.toml")
    running.port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", "".join(running.seen))[-1])
    assert running.get() == (200, "for-development")
    (directory / "dev.env").write_text("MAIL_KEY=for-somebody-else\n")
    running.wait_for("starting again")
    running.wait_until_it_serves()
    assert running.get() == (200, "for-somebody-else")


def test_a_mistake_of_the_configuration_is_explained_until_it_is_mended(dev: type[Dev], directory: Path) -> None:
    (directory / "hello.py").write_text(SECRETIVE)
    (directory / "other.toml").write_text('[secrets]\nprovider = "dotnev"\n')
    running = dev("hello:app", "--config", "other.toml")
    running.wait_until_it_serves()
    running.wait_for("waiting for the next change")
    status, text = running.get()
    assert status == 500
    assert "other.toml: secrets.provider: expected one of" in text
    (directory / ".env").write_text("MAIL_KEY=mended-after-all\n")
    running.wait_for("starting again")
    running.wait_for("waiting for the next change")
    (directory / "other.toml").write_text('[secrets]\nprovider = "dotenv"\n')
    running.wait_for("starting again")
    running.wait_until_it_serves()
    assert running.get() == (200, "mended-after-all")
