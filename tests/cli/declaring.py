"""``fastlane`` in a process of its own: what other tests declared is not declared there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import Outcome

__all__ = ["APP", "run"]

APP = """
from msgspec import Struct
from fastlane import App
from fastlane.cron import cron
from fastlane.pubsub import Topic
from fastlane.secrets import Secret
from fastlane.sql import Database

app = App()
db = Database("blog")
mail_key, api_key = Secret("MAIL_KEY"), Secret("API_KEY")

class Signup(Struct):
    id: int

signups = Topic("user-signups", Signup)

@signups.subscribe("send-mail")
async def send_mail(event: Signup) -> None: ...

@cron("trending", every="10m")
async def trending() -> None: ...
"""
"""An application that declares one of everything, and two secrets."""


def run(directory: Path, *arguments: str, **environment: str) -> Outcome:
    """Run ``fastlane`` to its end, without this machine's configuration."""
    left_out = ("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "FASTLANE_CONFIG")
    variables = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [sys.executable, "-m", "fastlane", *arguments],
        cwd=directory,
        env={**variables, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
