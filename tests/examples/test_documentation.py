"""The README and ``docs/``: their Python runs, their tables are those of the code, their links lead somewhere."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import itertools
import json
import linecache
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fastlane.pubsub.placement.kinds import kind_of, make_provider
from fastlane.resources.configuration import Loaded, resolve
from fastlane.server.options import ServeOptions
from fastlane.testing import TestClient

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TOML = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CONFIGURATIONS = [(page, number) for page in PAGES for number, _ in enumerate(TOML.findall(page.read_text()))]

_numbers = itertools.count(1)


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def page_module() -> Iterator[ModuleType]:
    """A module for the blocks of one page, known to ``sys.modules`` so that annotations find their names."""
    module = ModuleType(f"documentation_page_{next(_numbers)}")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]
    # Caches of `typing` hold what stands in annotations, and so the page's functions and all that they can see.
    for found in vars(module).values():
        if isinstance(found, TestClient):
            found.close()
    vars(module).clear()


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=names)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, page_module: ModuleType) -> None:
    text = page.read_text()
    for block in BLOCK.finditer(text):
        # Blank lines in front, so that an error points at the page's own line.
        source = "\n" * text.count("\n", 0, block.start(1)) + block[1]
        file = f"{names(page)}"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        exec(compile(source, file, "exec", dont_inherit=True), vars(page_module))
    for name, found in list(vars(page_module).items()):
        if name.startswith("test_"):
            outcome = found()
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)


@pytest.mark.parametrize(
    ("page", "number"), CONFIGURATIONS, ids=lambda value: value if isinstance(value, int) else names(value)
)
def test_a_configuration_in_a_page_is_one(page: Path, number: int) -> None:
    block = TOML.findall(page.read_text())[number]
    document = tomllib.loads(block)
    environment = dict.fromkeys(re.findall(r'env = "(\w+)"', block), "postgresql://user@host/name")
    configuration = resolve(Loaded(names(page), None, document, environment))
    ServeOptions.gather({}, environment=environment, file=document.get("serve", {}), file_name=names(page))
    for name, options in configuration.providers.items():
        if kind_of(options) != "postgres":  # it asks for a declared database
            make_provider(name, options)


def test_the_outputs_in_the_first_steps_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "first-steps.md").read_text()
    blog = BLOCK.findall(text)[0]
    (tmp_path / "blog.py").write_text(blog.replace('"/posts/{id}"', '"/posts/{post_id}"'))
    command = [sys.executable, "-m", "fastlane", "check", "blog:app"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    (said,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert shown.stdout == f"{tmp_path}/{said}1 error in blog:app\n"

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "blog_as_it_stands.py").write_text(blog)
    app = importlib.import_module("blog_as_it_stands").app
    monkeypatch.delitem(sys.modules, "blog_as_it_stands")
    created, refused = re.findall(r"^\$ curl.*?\n(\{.*?\})\n(?=```)", text, re.DOTALL | re.MULTILINE)
    with TestClient(app) as client:
        answer = client.post("/posts", json={"title": "Hello", "body": "First."}, headers={"x-author": "ada"})
        assert answer.text == created
        assert list(client.post("/posts", json={"title": ""}).json().items()) == list(json.loads(refused).items())


def test_the_tables_and_files_in_the_pages_are_those_of_the_tree() -> None:
    spec = importlib.util.spec_from_file_location("documentation_tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for page in tables.PAGES:
        assert tables.filled(page) == (DOCS / page).read_text(), f"{page} is out of date, run: python docs/tables.py"


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_every_page_is_in_the_navigation_and_every_decision_in_their_index() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    decisions = (DOCS / "decisions" / "index.md").read_text()
    pages = [*DOCS.glob("*.md"), *DOCS.glob("deployment/*.md"), *DOCS.glob("brokers/*.md")]
    assert [page.name for page in pages if f"{page.relative_to(DOCS)}\n" not in navigation] == []
    assert [page.name for page in DOCS.glob("decisions/*.md") if page.name not in navigation + decisions] == []
