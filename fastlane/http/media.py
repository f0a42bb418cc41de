"""Media types of request bodies: which names stand for which format (RFC 9110 8.3)."""

from __future__ import annotations

from typing import Final

__all__ = ["FORM", "JSON", "JSON_TYPES", "MSGPACK_TYPES", "essence_of", "is_read"]

JSON: Final = "application/json"
JSON_TYPES: Final = frozenset({JSON, "application/merge-patch+json", "application/json-patch+json"})
MSGPACK_TYPES: Final = frozenset({"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"})
FORM: Final = "application/x-www-form-urlencoded"


def essence_of(content_type: bytes) -> str:
    """``application/json`` of ``Application/JSON; charset=utf-8``."""
    return content_type.partition(b";")[0].strip().lower().decode("latin-1")


def is_read(essence: str, media_types: frozenset[str]) -> bool:
    """A route that reads ``media_types`` reads this one: who reads JSON reads every ``…+json`` (RFC 6839 3.1)."""
    return essence in media_types or (essence.endswith("+json") and JSON in media_types)
