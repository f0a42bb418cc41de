"""The boot process and the workers' resources, under the real supervisor and under other servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from fastlane.supervisor.kernel import run_state
from tests.processes.served import SECONDS, Served, title, wait_until
from tests.servers.spawned import free_port

pytestmark = pytest.mark.process

SERVICE = """
import asyncio, os, time
from fastlane import App
from fastlane import runtime
from fastlane.errors import ConfigurationError
from fastlane.resources.declaration import Place, Resource, declared_resources
from fastlane.resources.service import Service
from fastlane.secrets import Secret

runtime.SERVICES["topic"] = "shelves:ShelfService"

def note(text):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{text}\\n")

class Shelf(Resource):
    kind = "topic"

class ShelfService(Service):
    name = "shelves"
    role = "subscriptions"

    def check(self):
        return []

    async def prepare(self):
        note(f"prepare {os.getppid()}")
        said = os.environ.get("PREPARE", "")
        if os.path.exists("prepare"):
            said = open("prepare").read()
        if said == "refuse":
            raise ConfigurationError("a migration is pending\\n    mend: fastlane sql migrate")
        if said == "break":
            raise OSError("unreachable")
        if said == "hang":
            time.sleep(60)
        if said == "wait":
            for _ in range(24):
                self.extend("waiting for another machine's migration")
                await asyncio.sleep(0.25)
        return {"by": os.getpid()}

    def receive(self, report):
        self.report = report

    async def open(self):
        for shelf in declared_resources(Shelf).values():
            shelf.bind(f"prepared by {self.report['by']}, mode {self.surroundings.mode}, "
                       f"{self.surroundings.index + 1} of {self.surroundings.workers}")

    async def start(self):
        note(f"start {self.surroundings.index} of {self.surroundings.generation}")

    async def drain(self, timeout):
        note(f"drain {self.surroundings.index} of {self.surroundings.generation}")
        while os.environ.get("DRAINS") and not os.path.exists(os.environ["DRAINS"]):
            await asyncio.sleep(0.01)  # what runs takes so long to end
        note(f"end {self.surroundings.index} of {self.surroundings.generation}")

    async def close(self):
        for shelf in declared_resources(Shelf).values():
            shelf.unbind()
"""

APP = """
import shelves
from fastlane import App
from fastlane.secrets import Secret

shelf = shelves.Shelf("shelf", shelves.Place.of_caller(1))
key = Secret("MAIL_KEY")
app = App()

@app.get("/")
async def words() -> str:
    return shelf.binding

@app.get("/key")
async def the_key() -> str:
    return key.get()
"""


class Shelves:
    """An app with a resource, its notes, and how it is served."""

    def __init__(self, serve, tmp_path) -> None:
        self._serve = serve
        self.directory = tmp_path
        (tmp_path / "shelves.py").write_text(SERVICE)
        (tmp_path / "service.py").write_text(APP)
        self.environment = {"NOTES": str(tmp_path / "notes"), "MAIL_KEY": "very secret", "PREPARE": ""}

    def __call__(self, *options: str, **environment: str) -> Served:
        options = ("--embedded", *options) if "--no-embedded" not in options else options
        return self._serve(*options, app=APP, environment={**self.environment, **environment})

    def notes(self, word: str = "") -> list[str]:
        path = self.directory / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(word)]


@pytest.fixture
def shelves(serve, tmp_path) -> Shelves:
    return Shelves(serve, tmp_path)


def test_one_boot_process_prepares_for_all_workers(shelves) -> None:
    served = shelves("--workers", "2").ready()
    answers = {served.get() for _ in range(20)}
    assert len({answer.partition(",")[0] for answer in answers}) == 1
    assert {answer.partition("mode ")[2] for answer in answers} <= {"serve, 1 of 2", "serve, 2 of 2"}
    assert served.get("/key") == "very secret"
    assert len(shelves.notes("prepare")) == 1
    assert sorted(shelves.notes("start")) == ["start 0 of 1", "start 1 of 1"]
    # A child of the template, which is neither of those that live on.
    assert served.text.count("--embedded: resources that have no configuration live on this machine alone") == 1
    template = next(pid for pid in served.children() if title(pid).startswith("fastlane: template"))
    assert shelves.notes("prepare") == [f"prepare {template}"]
    assert served.stop() == 0
    assert len(shelves.notes("drain")) == 2


def test_a_replaced_worker_has_what_its_generation_prepared(shelves) -> None:
    served = shelves().ready()
    before = served.get()
    [pid] = served.workers()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: served.workers() not in ([], [pid]))
    assert served.get() == before
    assert len(shelves.notes("prepare")) == 1


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [("refuse", 2, "a migration is pending\n    mend: fastlane sql migrate"), ("break", 3, "OSError: unreachable")],
)
def test_a_boot_process_that_fails_is_reported_once(shelves, said: str, code: int, text: str) -> None:
    served = shelves("--workers", "2", PREPARE=said)
    assert served.process.wait(SECONDS) == code
    served.wait_for("(?s)" + text)
    assert served.text.count(text.splitlines()[0]) == 1
    assert shelves.notes("start") == []


def test_a_missing_secret_stops_the_boot(shelves) -> None:
    served = shelves(MAIL_KEY="")
    assert served.process.wait(SECONDS) == 2
    served.wait_for("MAIL_KEY")


def test_a_boot_process_that_hangs_is_killed_at_the_deadline(shelves) -> None:
    served = shelves("--boot-timeout", "4", PREPARE="hang")
    wait_until(lambda: shelves.notes("prepare"))
    assert served.process.wait(SECONDS) == 3
    served.wait_for("the boot process of service:app was preparing shelves, and not done with it within")
    [note] = shelves.notes("prepare")
    wait_until(lambda: not processes_of(int(note.split()[1])), what="the end of the boot process")


def test_a_rightful_wait_is_not_counted(shelves) -> None:
    served = shelves("--boot-timeout", "4", PREPARE="wait").ready()
    assert "prepared by" in served.get()


def test_a_boot_process_dies_with_the_supervisor(shelves) -> None:
    served = shelves(PREPARE="hang")
    wait_until(lambda: shelves.notes("prepare"))
    [note] = shelves.notes("prepare")
    template = int(note.split()[1])
    children = processes_of(template)
    assert len(children) == 1
    served.process.kill()
    served.process.wait(SECONDS)
    # Whoever inherits the dead may take its time to reap them.
    wait_until(lambda: all(run_state(pid) in ("", "Z") for pid in [template, *children]), what="their end")


def test_a_reload_whose_boot_fails_leaves_the_old_generation_serving(shelves) -> None:
    served = shelves().ready()
    before = served.get()
    (shelves.directory / "prepare").write_text("refuse")
    served.signal(signal.SIGHUP)
    served.wait_for("the new version can't start, the old one keeps serving: a migration is pending")
    assert served.get() == before
    (shelves.directory / "prepare").write_text("")
    served.signal(signal.SIGHUP)
    served.wait_for("generation 3 serves")
    assert len(shelves.notes("prepare")) == 3


def test_in_a_reload_the_old_generation_stops_working_before_the_new_one_starts(shelves) -> None:
    served = shelves("--workers", "2").ready()
    served.signal(signal.SIGHUP)
    served.wait_for("generation 2 serves")
    wait_until(lambda: len(shelves.notes("start")) == 4)
    notes = shelves.notes()
    for index in (0, 1):
        assert notes.index(f"drain {index} of 1") < notes.index(f"start {index} of 2")


def test_in_a_reload_the_new_generation_starts_when_what_the_old_one_had_begun_has_ended(shelves) -> None:
    served = shelves("--workers", "2", DRAINS="until it is here").ready()
    first = set(served.workers())
    served.signal(signal.SIGHUP)
    served.wait_for("generation 2 serves")
    second = set(served.workers()) - first
    served.signal(signal.SIGHUP)  # the second generation has not started yet, and the first has not ended
    served.wait_for("generation 3 serves")
    wait_until(lambda: not second & set(served.workers()), what="the end of the second generation")
    assert first <= set(served.workers())
    (shelves.directory / "until it is here").touch()
    wait_until(lambda: len(shelves.notes("start")) == 4)
    notes = shelves.notes()
    for index in (0, 1):
        assert notes.index(f"end {index} of 1") < notes.index(f"start {index} of 3")
    assert not shelves.notes("start 0 of 2")


def test_without_preload_the_boot_process_imports_the_application(shelves) -> None:
    served = shelves("--no-preload", "--workers", "2").ready()
    assert served.get().startswith("prepared by ")
    assert len(shelves.notes("prepare")) == 1


def test_an_app_without_resources_pays_nothing_for_them(serve) -> None:
    served = serve(
        "--health-path",
        "/health",
        app="""
import sys
from fastlane import App
app = App()

@app.get("/")
async def loaded() -> list[str]:
    parts = ("fastlane.runtime", "fastlane.tenancy", "fastlane.resources.", "fastlane.supervisor.boot")
    return sorted(name for name in sys.modules if name.startswith(parts))
""",
    ).ready()
    # The table of options reads durations, and knows what a worker may be for; nothing else is there.
    light = [f"fastlane.resources.{name}" for name in ("host", "quantities", "surroundings", "work")]
    assert served.get() == str(light).replace("'", '"').replace(" ", "")


def test_workers_that_only_work_listen_nowhere(shelves) -> None:
    served = shelves("--run", "subscriptions", "--workers", "2").ready()
    assert "listening nowhere" in served.text
    wait_until(lambda: len(shelves.notes("start")) == 2)
    served.signal(signal.SIGHUP)
    served.wait_for("generation 2 serves")
    assert served.stop() == 0


def test_workers_for_requests_alone_start_no_subscription(shelves) -> None:
    served = shelves("--run", "http").ready()
    assert served.get().startswith("prepared by ")
    assert served.stop() == 0
    assert shelves.notes("start") == shelves.notes("drain") == []


def test_the_configuration_file_is_in_the_first_line(shelves) -> None:
    (shelves.directory / "fastlane.toml").write_text("[serve]\nworkers = 1\n")
    served = shelves("--no-embedded").ready()
    served.wait_for(r"starting service:app on http://\S+ with 1 worker, configured by fastlane\.toml")


def test_a_table_for_what_nobody_declares_stops_the_boot(serve, tmp_path) -> None:
    (tmp_path / "fastlane.toml").write_text('[pubsub.topics.lost]\nname = "lost"\n')
    served = serve()
    assert served.process.wait(SECONDS) == 2
    served.wait_for("fastlane.toml: pubsub.topics.lost: no topic 'lost' is declared")


def test_without_the_lifespan_nothing_is_bound(shelves) -> None:
    served = shelves("--lifespan", "off").ready()
    with pytest.raises(AssertionError, match="500"):
        served.get()
    served.wait_for("topic 'shelf' is not bound")
    assert "not --lifespan off" in served.text


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn", "ours under gunicorn"])
def test_under_another_server_each_process_prepares_alone(shelves, server: str) -> None:
    port = free_port()
    gunicorn = ["gunicorn", "service:app", "-b", f"127.0.0.1:{port}", "-w", "2", "-k"]
    command = {
        "uvicorn": ["uvicorn", "service:app", "--port", str(port), "--workers", "2"],
        "gunicorn": [*gunicorn, "uvicorn.workers.UvicornWorker"],
        "ours under gunicorn": [*gunicorn, "fastlane.server.gunicorn.Worker"],
    }[server]
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=shelves.directory,
        env={**os.environ, **shelves.environment, "FASTLANE_EMBEDDED": "1"},
    )
    try:
        wait_until(lambda: len(shelves.notes("start")) == 2, 2 * SECONDS)
        answers = {wait_until(lambda: answer(port)) for _ in range(40)}
        assert all("mode serve" in text for text in answers)
        if server == "ours under gunicorn":
            assert sorted(shelves.notes("start")) == ["start 0 of 1", "start 1 of 1"]
            assert {text.rpartition(", ")[2] for text in answers} <= {"1 of 2", "2 of 2"}
        assert len(shelves.notes("prepare")) == 2
    finally:
        process.terminate()
        process.wait(SECONDS)
    assert len(shelves.notes("drain")) == 2


def answer(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            text = b""
            while piece := connection.recv(4096):
                text += piece
            return text.partition(b"\r\n\r\n")[2].decode()
    except OSError:
        time.sleep(0.05)
        return ""


def processes_of(parent: int) -> list[int]:
    try:
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []
