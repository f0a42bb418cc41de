import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastlane
import fastlane.cron
import fastlane.pubsub
import fastlane.secrets
import fastlane.sql
from fastlane import errors

ROOMS = [fastlane, fastlane.cron, fastlane.pubsub, fastlane.secrets, fastlane.sql]
PUBLIC = [(room, name) for room in ROOMS for name in room.__all__]
PAGES = [page.read_text() for page in (Path(__file__).parents[1] / "docs").glob("*.md")]


@pytest.mark.parametrize("name", fastlane.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(fastlane, name)

    assert not isinstance(value, str)
    assert name == "CallNext" or value.__name__ == name
    assert name in dir(fastlane)


@pytest.mark.parametrize(("room", "name"), PUBLIC, ids=lambda value: getattr(value, "__name__", value))
def test_every_public_name_is_documented(room: ModuleType, name: str) -> None:
    assert any(re.search(rf"\b{name}\b", page) for page in PAGES)


@pytest.mark.parametrize("room", ROOMS[1:], ids=lambda room: room.__name__)
def test_a_room_has_what_it_promises_and_in_order(room: ModuleType) -> None:
    assert all(getattr(room, name) is not None for name in room.__all__)
    assert room.__all__ == sorted(room.__all__)


def test_every_exception_is_public() -> None:
    exceptions = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.FastlaneError) and not name.startswith("_")
    }

    assert exceptions <= set(fastlane.__all__)
    assert len(exceptions) > 25


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Flask'"):
        fastlane.Flask


def test_the_names_for_type_checkers_are_those_of_the_facade() -> None:
    tree = ast.parse(Path(fastlane.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]

    assert sorted(imported) == sorted(fastlane.__all__)
    assert sorted(fastlane.__all__) == sorted(set(fastlane.__all__))


HEAVY = ["uvicorn", "uvloop", "httptools", "click", "websockets", "aiohttp", "httpx", "fastlane.server"]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import fastlane", ["asyncio", "msgspec"]),
        ("from fastlane import App", HEAVY),
        ("from fastlane import *", HEAVY),
        ("from fastlane.testing import TestClient", HEAVY),
    ],
)
def test_importing_stays_light(statement: str, absent: list[str]) -> None:
    script = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert not set(absent) & set(loaded)


def test_everything_public_needs_little_beside_asyncio_and_msgspec() -> None:
    script = (
        "import asyncio, msgspec, sys; before = set(sys.modules); from fastlane import *; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    # A package, and not each of its modules: the whole of what users wait for beside the two that they import anyway.
    assert set(loaded) - {"fastlane"} <= set(sys.stdlib_module_names)
    assert len(loaded) <= 20


@pytest.mark.parametrize(
    ("theirs", "ours"), [("FastAPI", "App"), ("APIRouter", "Router"), ("HTTPException", "HTTPError")]
)
def test_a_name_of_another_framework_is_answered_with_ours(theirs: str, ours: str) -> None:
    with pytest.raises(ImportError, match=f"no '{theirs}': it is {ours}"):
        getattr(fastlane, theirs)
