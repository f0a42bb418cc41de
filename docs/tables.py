"""Writes what the documentation takes from elsewhere: ``python docs/tables.py``.

A table of the code stands between ``<!-- name -->`` and ``<!-- /name -->`` (``<!-- keys AwsOptions -->`` has an
argument), a file beside the page between ``<!-- file NAME -->`` and ``<!-- /file -->``. The tests fail when one is out
of date.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from fastlane import errors
from fastlane.pubsub.capabilities import Capabilities
from fastlane.pubsub.placement.kinds import KINDS
from fastlane.resources import configuration
from fastlane.resources.configuration.documentation import describe_keys
from fastlane.server.options import OPTIONS

__all__ = ["PAGES", "filled"]

DOCS = Path(__file__).parent
PAGES = (
    "brokers.md",
    "configuration.md",
    "deployment.md",
    "responses.md",
    *(
        f"{page.parent.name}/{page.name}"
        for page in DOCS.glob("*/*.md")
        if page.parent.name in ("brokers", "deployment")
    ),
)
LANGUAGES = {".service": "ini", ".socket": "ini", ".yaml": "yaml", ".py": "py", ".conf": "nginx", "": "dockerfile"}


def options() -> Iterator[str]:
    """Every option of serve: flag, variable and key follow from one another, so the flag is enough."""
    section = ""
    for option in OPTIONS:
        if option.section != section:
            section = option.section
            yield f"\n**{section}**\n"
            yield "| flag | variable | key in `[serve]` | default | |"
            yield "| --- | --- | --- | --- | --- |"
        flag = f"{option.flag} {option.metavar}" if option.metavar else f"{option.flag}, {option.negative_flag}"
        key = f"`{option.key}`" if option.key else ""
        default = f"`{option.shown_default}`" if option.shown_default else ""
        cells = (f"`{flag}`".replace("|", "\\|"), f"`{option.variable}`", key, default, option.help)
        yield f"| {' | '.join(cells)} |"


def error_classes() -> Iterator[str]:
    """Every class that is an answer, in the order of the tree."""
    yield "\n| class | status | code | |\n| --- | --- | --- | --- |"
    for name, found in vars(errors).items():
        is_answer = isinstance(found, type) and issubclass(found, errors.HTTPError) and found is not errors.HTTPError
        if is_answer and name in errors.__all__:
            meaning = (found.__doc__ or "").strip().splitlines()[0]
            yield f"| `{name}` | {found.status} | `{found.code}` | {meaning} |"


def guarantees() -> Iterator[str]:
    """What each kind of provider keeps: a row per question, a column per kind."""
    kinds = {kind: _capabilities(kind) for kind in KINDS if kind != "memory"}
    yield f"\n| | {' | '.join(kinds)} |"
    yield f"| --- |{' --- |' * len(kinds)}"
    for question, answer in _QUESTIONS.items():
        yield f"| {question} | {' | '.join(answer(able) for able in kinds.values())} |"


def losses() -> Iterator[str]:
    """When a message that a broker has confirmed is gone nevertheless."""
    yield "\n| | a confirmed message is lost |\n| --- | --- |"
    for kind in KINDS:
        if kind != "memory":
            yield f"| {kind} | {_capabilities(kind).loses} |"


def emulated(kind: str) -> Iterator[str]:
    """What the framework does in a broker's stead."""
    yield ""
    yield from (f"* {what}" for what in _capabilities(kind).emulated)


def keys(table: str) -> Iterator[str]:
    """The keys of a table of the configuration, from the docstring that editors show, too."""
    found: type[msgspec.Struct] = getattr(configuration, table)
    described = describe_keys(found)
    yield "\n| key | default | |\n| --- | --- | --- |"
    for field in msgspec.structs.fields(found):
        yield f"| `{field.encode_name}` | {_default(field)} | {described.get(field.name, '')} |".replace("  |", " |")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "needed"
    if field.default is msgspec.NODEFAULT or field.default in (None, ""):
        return ""
    value = str(field.default).lower() if isinstance(field.default, bool) else field.default  # 1 is equal to True
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _capabilities(kind: str) -> Capabilities:
    module, _, name = KINDS[kind].partition(":")
    found: Capabilities = getattr(importlib.import_module(module), name).capabilities
    return found


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "no limit"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if (seconds >= 2 * length and seconds % length == 0) or seconds == length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def _delay(able: Capabilities) -> str:
    if able.max_delay == 0:
        return "none"
    ordered = "" if able.ordered_delay or not able.ordering else "; none where ordered"
    return _time(able.max_delay) + ordered


def _lengths(able: Capabilities) -> str:
    least, most = able.name_lengths
    return f"{least} to {most}" if most is not None else "no limit"


_QUESTIONS: dict[str, Callable[[Capabilities], str]] = {
    "order of a key (`order_by=`)": lambda able: _yes(able.ordering),
    "exactly-once": lambda able: _yes(able.exactly_once),
    "`attempt`": lambda able: "exact" if able.exact_attempts else "upper bound",
    "`ack_deadline`": lambda able: (
        f"{_time(able.ack_deadline[0])} to {_time(able.ack_deadline[1])}"
        if able.ack_deadline[1] is not None
        else f"from {_time(able.ack_deadline[0])}"
    ),
    "longest `max_backoff`": lambda able: _time(able.max_backoff),
    "longest `timeout`": lambda able: _time(able.max_timeout),
    "longest `delay`": _delay,
    "whole seconds only": lambda able: _yes(able.whole_seconds),
    "characters of a name": _lengths,
    "backlog is told": lambda able: _yes(able.backlog),
    "dead letters, when listed": lambda able: (
        "stay visible" if able.dead_letters == "listed" else "received under a lease"
    ),
    "pause and resume": lambda able: _yes(able.pause),
}

TABLES: dict[str, Callable[..., Iterator[str]]] = {
    "options": options,
    "errors": error_classes,
    "guarantees": guarantees,
    "losses": losses,
    "emulated": emulated,
    "keys": keys,
}


def filled(page: str) -> str:
    """A page's text with its tables and files put in anew."""

    def table(match: re.Match[str]) -> str:
        name, arguments = match[1], match[2].split()
        return f"<!-- {name}{match[2]} -->\n{chr(10).join(TABLES[name](*arguments))}\n\n<!-- /{name} -->"

    def file(match: re.Match[str]) -> str:
        path = (DOCS / page).parent / match[1]
        return f"<!-- file {path.name} -->\n\n```{LANGUAGES[path.suffix]}\n{path.read_text()}```\n\n<!-- /file -->"

    text = (DOCS / page).read_text()
    names = "|".join(TABLES)
    text = re.sub(rf"<!-- ({names})((?: \w+)*) -->.*?<!-- /\1 -->", table, text, flags=re.DOTALL)
    return re.sub(r"<!-- file (\S+) -->.*?<!-- /file -->", file, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(filled(page))
