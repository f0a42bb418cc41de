"""A canary is raised through every error path there is, in real processes, and looked for in all they write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlane.redaction.forms import forms_of

from .running import SECONDS, Run

pytestmark = pytest.mark.process

CANARY = 'c4n4ry/v+lue "x"\\y'
FORMS = forms_of(CANARY)

APP = """
import asyncio, logging, os, threading, warnings
from contextlib import asynccontextmanager
from typing import Annotated
from msgspec import Meta, Struct
from fastlane import App, BackgroundTasks, NotFound, StreamingResponse, WebSocket
from fastlane.cron import cron
from fastlane.pubsub import Retry, Topic
from fastlane.secrets import Secret

canary = Secret("CANARY")
where = os.environ.get("LEAK_AT", "")

def leak(how: str) -> None:
    raise ValueError(f"{how} {canary.get()}")

@asynccontextmanager
async def lifespan(app):
    if where == "start-up":
        leak("start-up")
    yield
    if where == "shutdown":
        leak("shutdown")

app = App(lifespan=lifespan)

class Typed(Struct):
    name: Annotated[str, Meta(max_length=3)]

@app.get("/handler")
async def handler() -> None:
    await asyncio.sleep(0)
    leak("handler")

@app.get("/lane")
async def lane() -> None:
    leak("lane")

@app.get("/thread")
def thread() -> None:
    leak("thread")

@app.get("/group")
async def group() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.to_thread(leak, "group"))

@app.get("/problem")
async def problem() -> None:
    raise NotFound(f"there is no {canary.get()}")

@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add(leak, "background")
    return "ok"

@app.get("/stream")
async def stream() -> StreamingResponse:
    async def pieces():
        yield b"one"
        leak("stream")
    return StreamingResponse(pieces())

@app.get("/loop")
async def loop() -> str:
    running = asyncio.get_running_loop()
    running.call_soon(leak, "callback")
    async def lost():
        leak("task")
    running.create_task(lost())
    running.call_exception_handler({"message": f"told {canary.get()}"})
    threading.Thread(target=leak, args=("a thread of its own",)).start()
    return "ok"

@app.get("/log")
async def log() -> str:
    logging.getLogger("a.child").warning("logged %s %r", canary.get(), canary.get(), extra={"key": canary.get()})
    logging.getLogger("fastlane.mine").error("logged %s", canary.get(), stack_info=True)
    handler = logging.StreamHandler()
    late = logging.getLogger("late")
    late.addHandler(handler)
    late.error("late %s", [canary.get()])
    warnings.warn(f"warned {canary.get()}")
    return repr([canary, str(canary), f"{canary}"])

class Event(Struct):
    text: str

events = Topic("events", Event)

@events.subscribe("failing", retry=Retry(min_backoff=0.01, max_attempts=2))
async def failing(event: Event) -> None:
    leak("subscription")

@events.subscribe("in-a-thread", retry=Retry(min_backoff=0.01, max_attempts=1))
def failing_in_a_thread(event: Event) -> None:
    leak("subscription's thread")

@cron("failing", every="1m")
async def failing_job() -> None:
    leak("job")

@app.get("/publish")
async def publish() -> str:
    await events.publish(Event("innocent"))
    try:
        await failing_job.fire()
    except ValueError:
        logging.getLogger("a.child").exception("fired")
    return "ok"

@app.get("/typed")
async def typed(n: int) -> int:
    return n

@app.post("/body")
async def body(new: Typed) -> str:
    return new.name

@app.get("/missing/{name}")
async def missing(name: str) -> str:
    raise NotFound(name)
"""

QUOTED = ["c4n4ry%2Fv%2Blue%20%22x%22%5Cy", "c4n4ry%2fv%2blue+%22x%22%5cy"]
PATHS = ["handler", "lane", "thread", "group", "problem", "background", "stream", "loop", "log", "publish"]
PATHS += [f"typed?n={quoted}" for quoted in QUOTED]
PATHS += [f"missing/{QUOTED[0]}", f"nowhere/{QUOTED[0]}"]


class Leaky(Run):
    """A run whose application raises the canary wherever it is asked to."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        super().__init__(directory, *arguments, **{"CANARY": CANARY, **environment})

    def ask_everything(self) -> None:
        for path in PATHS:
            self.ask(path)
        self.ask("body", "POST", b'{"name": "c4n4ry/v+lue \\"x\\"\\\\y"}')
        self.ask("body", "POST", b'{"name": c4n4ry/v+lue}')

    def shows_nothing(self, *, at_least: int) -> None:
        text = self.text
        assert "c4n4ry" not in text, text
        assert not [form for form in FORMS if form in text]
        assert text.count("***CANARY***") >= at_least, text


@pytest.fixture
def run(tmp_path: Path) -> Iterator[type[Leaky]]:
    (tmp_path / "leaky.py").write_text(APP)
    runs: list[Leaky] = []

    class Started(Leaky):
        def __init__(self, *arguments: str, **environment: str) -> None:
            super().__init__(tmp_path, *arguments, **environment)
            runs.append(self)

    yield Started  # type: ignore[misc]
    for one in runs:
        one.end()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_server_writes_no_secret_whatever_fails(run: type[Leaky], tmp_path: Path, log_format: str) -> None:
    options = ("--port", "0", "--embedded", "--log-format", log_format)
    served = run("serve", "leaky:app", *options, LEAK_AT="shutdown")
    served.wait_for("ready, 1 worker")
    served.ask_everything()
    served.wait_for("nowhere/")
    for name in ("failing", "in-a-thread"):
        served.wait_for(f"of events/{name} is among the dead letters")
    served.stop()
    served.shows_nothing(at_least=20)
    for path in (tmp_path / ".fastlane").rglob("*"):
        assert not path.is_file() or b"c4n4ry" not in path.read_bytes(), path
    for where in (
        "handler",
        "lane",
        "thread",
        "group",
        "background",
        "stream",
        "callback",
        "task",
        "told",
        "job",
        "shutdown",
    ):
        assert f"{where} ***CANARY***" in served.text, where
    assert "a thread of its own ***CANARY***" in served.text
    assert "warned ***CANARY***" in served.text
    assert "subscription ***CANARY***" in served.text
    assert "subscription's thread ***CANARY***" in served.text


def test_the_development_server_writes_no_secret_whatever_fails(run: type[Leaky]) -> None:
    served = run("dev", "leaky:app", "--port", "0", "--no-reload")
    served.wait_for("serving leaky:app")
    served.ask_everything()
    served.wait_for("nowhere/")
    served.stop()
    served.shows_nothing(at_least=20)


def test_the_page_that_explains_a_start_up_shows_no_secret(run: type[Leaky]) -> None:
    served = run("dev", "leaky:app", "--port", "0", "--no-reload", LEAK_AT="start-up")
    served.wait_for("did not start")
    served.ask("handler")
    served.stop()
    assert "did not start: ValueError: start-up ***CANARY***" in served.answers
    served.shows_nothing(at_least=3)


def test_a_start_up_that_fails_shows_no_secret(run: type[Leaky]) -> None:
    served = run("serve", "leaky:app", "--port", "0", "--embedded", LEAK_AT="start-up")
    assert served.process.wait(SECONDS) == 3
    assert "start-up ***CANARY***" in served.text
    served.shows_nothing(at_least=1)


BROKEN = """
[pubsub]
publish_timeout = { secret = "CANARY" }
[providers.events]
kind = "nsq"
nsqd = ["127.0.0.1:1"]
auth = { env = "CANARY" }
max_delay = { env = "CANARY" }
[sql.databases.blog]
url = { env = "DSN" }
pool = { max = "c4n4ry" }
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "leaky:app", "--port", "0"],
        ["config", "check", "leaky:app"],
        ["secrets", "check", "leaky:app"],
        ["secrets", "list", "leaky:app"],
        ["config"],
        ["config", "example", "leaky:app"],
    ],
)
def test_a_configuration_that_is_wrong_is_told_without_its_secrets(
    run: type[Leaky], tmp_path: Path, arguments: list[str]
) -> None:
    text = BROKEN.replace('pool = { max = "c4n4ry" }', "pool = { max = 0 }")
    (tmp_path / "fastlane.toml").write_text(text)
    done = run(*arguments, DSN="postgresql://blog:c4n4ry-password@127.0.0.1:1/blog")
    done.process.wait(SECONDS)
    assert "Traceback" not in done.text
    done.shows_nothing(at_least=0)
    if arguments[0] == "serve" or (arguments[1:2] == ["check"] and arguments[0] == "config"):
        assert done.process.returncode in (1, 2)
        assert "pubsub.publish_timeout: expected a duration" in done.text
        assert "providers.events.max_delay: expected a duration" in done.text
        assert "sql.databases.blog.pool.max: expected a whole number at least 1, got 0" in done.text


def test_a_database_that_can_not_be_reached_is_told_without_its_password(run: type[Leaky], tmp_path: Path) -> None:
    app = APP.replace("canary = Secret", "from fastlane.sql import Database\ndb = Database('blog')\ncanary = Secret", 1)
    (tmp_path / "leaky.py").write_text(app)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "fastlane.toml").write_text('[sql.databases.blog]\nurl = { secret = "DSN" }\ntls = "disable"\n')
    url = "postgresql://blog:c4n4ry-password@127.0.0.1:1/blog"
    done = run("serve", "leaky:app", "--port", "0", "--boot-timeout", "2", DSN=url)
    assert done.process.wait(SECONDS) != 0
    assert "127.0.0.1" in done.text
    done.shows_nothing(at_least=0)


def test_a_missing_secret_stops_the_boot_with_all_that_are_missing(run: type[Leaky], tmp_path: Path) -> None:
    (tmp_path / "fastlane.toml").write_text('[pubsub]\nprovider = "local"\n[cron]\nstore = "local"\n')
    done = run("serve", "leaky:app", "--port", "0", CANARY="")
    assert done.process.wait(SECONDS) in (2, 3)
    assert "1 secret is missing:\n  CANARY: the variable CANARY is empty (declared at" in done.text
