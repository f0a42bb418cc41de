"""What lies around a type is taken off, and nothing else."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NewType

import pytest

from fastlane.annotations import bare

UserId = NewType("UserId", int)
ALIASES: list[tuple[Any, Any]] = []
if sys.version_info >= (3, 12):  # PEP 695
    from typing import TypeAliasType

    Alias = TypeAliasType("Alias", Annotated[UserId, "marked"])
    ALIASES = [(Alias, int), (Annotated[Alias, "again"], int)]


@pytest.mark.parametrize(
    ("written", "inside"),
    [
        (int, int),
        (None, None),
        (Annotated[int, "marked"], int),
        (UserId, int),
        (list[UserId], list[UserId]),
        (int | None, int | None),
        *ALIASES,
    ],
)
def test_annotated_new_types_and_aliases_are_looked_through(written: Any, inside: Any) -> None:
    assert bare(written) == inside
