"""What the head alone says against a request, so that it is answered before its body is read (REQUESTS 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlane.errors import ContentTooLarge, ExpectationFailed, HTTPError, UnsupportedMediaType

if TYPE_CHECKING:
    from fastlane.compiler.endpoint import BodyRule
    from fastlane.server.head import LaneHead

__all__ = ["refuse_expectation", "refuse_media_type", "refuse_size", "too_large"]


def too_large(limit: int) -> ContentTooLarge:
    """The 413 of a body over ``limit`` bytes."""
    return ContentTooLarge(f"the body is larger than {limit} bytes")


def refuse_expectation(head: LaneHead) -> HTTPError | None:
    """417 for any expectation but ``100-continue`` (RFC 9110 10.1.1)."""
    if head.expect is None or head.expect == b"100-continue":
        return None
    return ExpectationFailed("this server meets no expectation but 100-continue")


def refuse_size(head: LaneHead, limit: int | None) -> HTTPError | None:
    """413 for a body that announces more than ``limit`` bytes."""
    return too_large(limit) if limit is not None and head.content_length > limit else None


def refuse_media_type(head: LaneHead, rule: BodyRule) -> HTTPError | None:
    """415 for a body whose Content-Type is missing, doubled, or none that the route reads."""
    media_types = rule.media_types
    if media_types is None:
        return None
    values = head.header_values(b"content-type")
    essence = values[0].partition(b";")[0].strip().lower().decode("latin-1") if len(values) == 1 else ""
    if len(values) <= 1 and essence in media_types:
        return None
    expected = " or ".join(sorted(filter(None, media_types)))
    return UnsupportedMediaType(f"the body must be {expected}, as its Content-Type says")
