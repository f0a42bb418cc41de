"""A value that is hidden for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastlane.redaction import hide, unhide

SECRET = 'p"4ss/w+rd &<é>\\x'


@pytest.fixture
def secret() -> Iterator[str]:
    hide("KEY", SECRET)
    yield SECRET
    unhide("KEY", SECRET)
