"""The envelope: what travels as the body of an NSQ message, because NSQ carries nothing beside it.

    {"fastlane":1,"id":"0190…","at":"2026-01-02T03:04:05.6Z","attributes":{"kind":"new"},"body":{…}}

``body`` is the payload as it is when it is JSON, else ``bytes`` has it in base64. Dead letters have ``dead`` as well. A
body that is no such envelope is somebody else's message: payload alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from fastlane.pubsub.envelope import DeadLetter, Delivery, Outgoing

__all__ = ["MOST_ERROR", "open_letter", "open_message", "open_raw", "seal", "seal_letter"]

MOST_ERROR = 2000
"""Characters of an error that a dead letter keeps: it must fit where the message fitted."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Death(Struct, frozen=True, omit_defaults=True):
    reason: str
    error: str
    source: str
    attempt: int
    at: _Moment


class _Envelope(Struct, frozen=True, omit_defaults=True, gc=False):
    fastlane: Literal[1]
    id: str
    at: _Moment
    key: str | None = None
    attributes: dict[str, str] = {}
    body: Raw | UnsetType = UNSET
    encoded: bytes | UnsetType = msgspec.field(default=UNSET, name="bytes")
    dead: _Death | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Envelope).decode
_is_json = msgspec.json.Decoder(Raw).decode


def _envelope(
    identity: str, at: datetime, key: str | None, attributes: dict[str, str], payload: bytes, dead: Any = UNSET
) -> bytes:
    try:
        return _encode(_Envelope(1, identity, at, key, attributes, _is_json(payload), UNSET, dead))
    except msgspec.DecodeError:
        return _encode(_Envelope(1, identity, at, key, attributes, UNSET, payload, dead))


def seal(message: Outgoing) -> bytes:
    """The body that carries a message."""
    return _envelope(message.id, message.published_at, message.ordering_key, message.attributes, message.payload)


def seal_letter(letter: DeadLetter) -> bytes:
    """The body that carries a dead letter."""
    error = letter.error if len(letter.error) <= MOST_ERROR else letter.error[: MOST_ERROR - 1] + "…"
    death = _Death(letter.reason, error, letter.source, letter.attempt, letter.died_at)
    return _envelope(letter.id, letter.published_at, letter.ordering_key, letter.attributes, letter.payload, death)


def _payload(envelope: _Envelope) -> bytes:
    if envelope.body is not UNSET:
        return bytes(envelope.body)
    return b"" if envelope.encoded is UNSET else envelope.encoded


def open_message(body: bytes, identity: bytes, timestamp: int, attempts: int, lease: Any) -> Delivery:
    """What is in a body that may be an envelope.

    Args:
        identity, timestamp, attempts: nsqd's; it counts nanoseconds since the epoch.
        lease: see `Delivery`.
    """
    try:
        envelope = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return open_raw(body, identity, timestamp, attempts, lease)
    return Delivery(
        envelope.id,
        identity.decode("ascii"),
        _payload(envelope),
        envelope.attributes,
        envelope.key,
        envelope.at,
        attempts,
        attempts,
        lease,
    )


def open_raw(body: bytes, identity: bytes, timestamp: int, attempts: int, lease: Any) -> Delivery:
    """A message without an envelope."""
    name = identity.decode("ascii")
    return Delivery(name, name, body, {}, None, _moment(timestamp), attempts, attempts, lease)


def open_letter(body: bytes, identity: bytes, timestamp: int, where: str) -> DeadLetter:
    """A dead letter; what somebody else put among them has the reason ``unknown``.

    Args:
        where: the nsqd.
    """
    name = identity.decode("ascii")
    position = f"{where}/{name}"
    try:
        envelope = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        moment = _moment(timestamp)
        return DeadLetter(name, body, {}, None, moment, "unknown", "", "", 0, moment, position)
    death = envelope.dead
    if death is UNSET:
        death = _Death("unknown", "", "", 0, _moment(timestamp))
    return DeadLetter(
        envelope.id,
        _payload(envelope),
        envelope.attributes,
        envelope.key,
        envelope.at,
        death.reason,
        death.error,
        death.source,
        death.attempt,
        death.at,
        position,
    )


def _moment(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)  # 64 bits reach until 2554
