"""``fastlane shell``: failures, and whose configuration holds. Its prompt is in ``test_scripts``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shop import Shop

pytestmark = pytest.mark.process


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.write(
        "app.py",
        "from fastlane import App\nfrom fastlane.cron import cron\napp = App()\n"
        "@cron('tick', every='1h')\nasync def tick() -> None:\n    print('ticked')\n",
    )
    return shop


def typed(shop: Shop, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastlane", "shell", "app:app", *options],
        cwd=shop.directory,
        env={**os.environ, **shop.environment},
        input=text,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_dev_reads_no_file_of_production(shop: Shop) -> None:
    shop.write("fastlane.toml", "[cron]\nstore = 'nowhere'\n")
    refused = typed(shop, "")
    assert refused.returncode == 2
    assert "fastlane.toml: cron.store" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = typed(shop, "await tick.handler()\nprint('=', 6 * 7)\n", "--dev")
    assert done.returncode == 0, done.stderr
    assert "ticked" in done.stdout
    assert "= 42" in done.stdout


def test_a_mistake_of_the_user_is_shown_and_the_prompt_goes_on(shop: Shop) -> None:
    done = typed(shop, "1 / 0\nraise KeyboardInterrupt\nprint('still here')\n", "--dev")
    assert "ZeroDivisionError" in done.stderr
    assert "still here" in done.stdout


def test_a_mistake_of_the_user_is_shown_without_the_inside_of_the_prompt(shop: Shop) -> None:
    shop.write(
        "app.py", "from fastlane import App\nfrom fastlane.secrets import Secret\napp, key = App(), Secret('KEY')\n"
    )
    shop.write(".env", "KEY='a secret, which replaces hooks of Python'\n")
    text = "def f():\n    raise ValueError(key.get())\n\nf()\nawait f(\n)\ndef f(:\n"
    done = typed(shop, text, "--dev")
    assert done.stderr.count("ValueError: ***KEY***") == 2
    assert "SyntaxError: invalid syntax" in done.stderr
    assert ".py" not in done.stderr.partition("Ctrl-D ends it.")[2]


def test_its_help_has_an_example(shop: Shop) -> None:
    assert "Example: fastlane shell app:app --dev" in shop.run("shell", "--help").out
