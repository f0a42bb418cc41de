"""How a message travels: the payload is the body, and beside the user's attributes there is one of ours.

A body and the values of attributes are texts of the characters that XML allows, a value is not empty, SQS takes ten
attributes, and raw delivery loses a message with more. What does not fit travels in our attribute, as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["FRAMEWORK", "Attributes", "Death", "Framing", "Packed", "datetime_of", "pack", "token", "unpack"]

FRAMEWORK = "fastlane"
"""The name of our attribute."""
NATIVE = 9
"""Attributes of the user that travel as such; with ours ten."""

Attributes = dict[str, dict[str, str]]
"""``MessageAttributes``, as SNS and SQS take them."""

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_TOKEN = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_NOTHING = "="


class Death(Struct, frozen=True):
    """What a dead letter says beside its message."""

    reason: str
    error: str
    source: str
    attempt: int
    died_at: datetime


class Framing(Struct, frozen=True, omit_defaults=True, rename={"published_at": "at", "not_before": "due"}):
    """Our attribute.

    Attributes:
        id: the framework's id of the message.
        published_at: aware, UTC.
        key: the ordering key.
        not_before: seconds since the epoch, before which nobody gets it.
        base64: the body is, since the payload is no text that may travel.
        attributes: the user's that can't travel as such.
        death: of a dead letter.
    """

    id: str
    published_at: datetime
    key: str | None = None
    not_before: float | None = None
    base64: bool = False
    attributes: dict[str, str] = {}
    death: Death | None = None


class Packed(Struct, frozen=True):
    """A message, ready to be sent; ``size`` is what SNS and SQS count."""

    body: str
    attributes: Attributes
    size: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Framing)


def pack(payload: bytes, attributes: Mapping[str, str], framing: Framing) -> Packed:
    """Everything that is to travel. ``base64`` and ``attributes`` of ``framing`` are set here."""
    body, encoded = _text(payload)
    native: Attributes = {}
    odd: dict[str, str] = {}
    size = len(payload) if not encoded else len(body)
    for name, value in attributes.items():
        if len(native) < NATIVE and _travels(name, value):
            native[name] = {"DataType": "String", "StringValue": value}
            size += len(name) + 6 + len(value.encode())
        else:
            odd[name] = value
    if encoded or odd:
        framing = msgspec.structs.replace(framing, base64=encoded, attributes=odd)
    text = _encoder.encode(framing).decode()
    if _ILLEGAL.search(text):
        text = json.dumps(json.loads(text), separators=(",", ":"))
    native[FRAMEWORK] = {"DataType": "String", "StringValue": text}
    return Packed(body, native, size + len(FRAMEWORK) + 6 + len(text.encode()))


def unpack(body: str, received: Mapping[str, Any], *, foreign: Framing) -> tuple[bytes, dict[str, str], Framing]:
    """Payload, the user's attributes, and our attribute; ``foreign`` where somebody else has published it."""
    attributes: dict[str, str] = {
        name: value["StringValue"] for name, value in received.items() if "StringValue" in value
    }
    try:
        framing = _decoder.decode(attributes[FRAMEWORK])
        payload = _bytes(body) if framing.base64 else body.encode()
    except (KeyError, msgspec.MsgspecError, ValueError):
        return body.encode(), attributes, foreign
    del attributes[FRAMEWORK]
    return payload, attributes | framing.attributes, framing


def token(text: str) -> str:
    """A message group or deduplication id: ``text``, or its digest where they may not contain it."""
    return text if _TOKEN.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()


def datetime_of(milliseconds: str | None) -> datetime:
    """A time as SQS tells it."""
    return datetime.fromtimestamp(int(milliseconds or 0) / 1000, UTC)


def _text(payload: bytes) -> tuple[str, bool]:
    """The payload as a body, and whether it had to be encoded."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        pass
    else:
        if text and not _ILLEGAL.search(text):
            return text, False
    return base64.b64encode(payload).decode() or _NOTHING, True


def _bytes(body: str) -> bytes:
    return b"" if body == _NOTHING else base64.b64decode(body, validate=True)


def _travels(name: str, value: str) -> bool:
    return bool(
        value
        and name.lower() != FRAMEWORK
        and len(name) <= 256
        and _NAME.fullmatch(name)
        and not _ILLEGAL.search(value)
    )
