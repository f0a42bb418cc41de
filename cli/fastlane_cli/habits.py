"""What other tools taught people to type, and what it is called here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from fastlane.server.options import OPTIONS

__all__ = ["misspelt_variables", "option_hint"]

_FOREIGN = {
    "--reload": "'fastlane dev' starts again after every change; 'fastlane serve' reloads when it gets HUP",
    "--bind": "write --host and --port, or --uds",
    "-b": "write --host and --port, or --uds",
    "--worker-class": "there is one kind of worker; gunicorn takes it with -k fastlane.server.gunicorn.Worker",
    "-k": "there is one kind of worker; gunicorn takes it with -k fastlane.server.gunicorn.Worker",
    "--factory": "write the target as module:function()",
    "--access-logfile": "the access log goes to standard output, and --no-access-log turns it off",
    "--proxy-headers": "the peers in --forwarded-allow-ips are believed",
    "--ssl-certfile": "write --certfile",
    "--ssl-keyfile": "write --keyfile",
    "--ssl-keyfile-password": "write --keyfile-password",
    "--ssl-ca-certs": "write --ca-certs",
    "--limit-concurrency": "write --limit-connections",
    "--limit-max-requests": "write --max-requests",
    "--timeout-keep-alive": "write --keep-alive",
    "--timeout-graceful-shutdown": "write --graceful-timeout",
    "--timeout-worker-healthcheck": "write --timeout",
    "--chdir": "write --app-dir",
    "--pid": "write --pid-file",
}
"""Options of uvicorn and gunicorn. Those that are called the same here need no entry."""


def option_hint(name: str) -> str:
    """What to write instead of an option that a command does not have; empty if nothing is known."""
    if name in _FOREIGN:
        return _FOREIGN[name]
    if any(name in (option.flag, option.negative_flag) for option in OPTIONS) or name == "-w":
        return "only 'fastlane serve' has it"
    return ""


def misspelt_variables(environment: Mapping[str, str]) -> Iterable[str]:
    """A sentence for each ``FASTLANE_…`` that nobody reads but that looks like one of ours.

    The others are passed over: another tool of the same name has variables of its own.
    """
    known = [option.variable.removeprefix("FASTLANE_") for option in OPTIONS]
    for name in sorted(environment):
        rest = name.removeprefix("FASTLANE_")
        if rest != name and rest not in known:
            for near in difflib.get_close_matches(rest, known, n=1, cutoff=0.75):
                yield f"nobody reads the variable {name}. Did you mean FASTLANE_{near}?"
