"""One server per door for all tables, and each table's cases played at once, when the first of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from .applications import Journal, asgi_echo, native_echo
from .serving import run, serve
from .table import Case, play, verdict

DOORS: dict[str, Callable[[Journal], Any]] = {"native": native_echo, "asgi": asgi_echo}


class Wire:
    """Plays the cases of one test module on one door."""

    def __init__(self, door: str) -> None:
        self.door = door
        self.verdicts: dict[tuple[str, str], str | None] = {}

    def check(self, cases: Sequence[Case], case: Case, delivery: str, loop: str = "uvloop") -> None:
        if (delivery, case.name) not in self.verdicts:
            run(self.play(cases, delivery), loop)
        wrong = self.verdicts[delivery, case.name]
        assert wrong is None, f"{case.name}: {case.sent[:300]!r}\n  {wrong}"

    async def play(self, cases: Sequence[Case], delivery: str) -> None:
        assert len({case.name for case in cases}) == len(cases), "two rows have one name"
        journal = Journal()
        async with serve(DOORS[self.door](journal)) as address:
            outcomes = await play(address, journal, cases, delivery)
        for case, outcome in zip(cases, outcomes, strict=True):
            self.verdicts[delivery, case.name] = verdict(case, delivery, outcome)


@pytest.fixture(scope="module", params=list(DOORS))
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)
