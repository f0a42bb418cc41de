"""The head of a request, read from its raw bytes.

llhttp has already checked every byte (methods, versions, field syntax, conflicting lengths) before a ``LaneHead`` is
made; what it leaves open is decided here: Host, the request target, framing, and the bounds. A ``LaneHead`` is a pure
function of its bytes, so that a connection may keep its last one and skip all of this when the same head comes again.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from fastlane.errors import BadRequest, HeadersTooLarge, HTTPError, Unimplemented, URITooLong, VersionNotSupported

if TYPE_CHECKING:
    from fastlane.endpoint import Endpoint
    from fastlane.server.limits import Limits

__all__ = ["INVALID", "LaneHead", "read_head", "refusal_of"]

INVALID = "Invalid HTTP request received."

# RFC 9110 7.2 and RFC 3986 3.2.2: uri-host [ ":" port ], where a reg-name may be empty.
_HOST = re.compile(
    rb"(?:(?P<name>(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)|\[(?P<address>[0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\])"
    rb"(?::(?P<port>[0-9]*))?"
)
# Header fields that ask for more than "read no body, keep the connection"; most requests have none of them.
_DEMANDS = re.compile(rb"\r\n(connection|proxy-connection|content-length|transfer-encoding|expect|upgrade):")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")

_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}
# PERF: `in` takes 8 ns for an int and 140 for bytes of length one.
_HASH = ord("#")
_QUESTION_MARK = ord("?")
_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}


class LaneHead:
    """One request line and its header fields. Has what ``fastlane.http.request.Head`` promises.

    Attributes:
        raw: the bytes, from the method to the empty line.
        route_key: ``b"GET /posts"``, as the route table's exact paths are keyed.
        content_length: of the body; 0 where there is none. Meaningless when ``chunked``.
        is_msgpack: the body is labelled as MessagePack; set where the route's media types are checked.
        keep_alive: what the client asks for (RFC 9112 9.3).
        upgrade: the lower-case Upgrade value when Connection names it, else None.
        plain: nothing in it asks for special treatment, so that it may be remembered (REQUESTS 5) and answered at once.
        message_size: of head and body, once a connection remembers the head.
        endpoint, values: the route, once the lane has matched it.
    """

    __slots__ = (
        "_is_forwarded",
        "_lower",
        "_target",
        "chunked",
        "content_length",
        "endpoint",
        "expect",
        "host",
        "http_version",
        "is_msgpack",
        "keep_alive",
        "message_size",
        "method",
        "plain",
        "query_string",
        "raw",
        "raw_path",
        "route_key",
        "size",
        "upgrade",
        "values",
    )

    host: bytes | None
    raw_path: bytes
    query_string: bytes
    route_key: bytes

    def __init__(self, raw: bytes, lower: bytes, method: str, http_version: str) -> None:
        self.raw = raw
        self._lower = lower
        self.size = len(raw)
        self.message_size = 0
        self._target: str | None = None
        self._is_forwarded: bool | None = None
        self.method = method
        self.http_version = http_version
        self.keep_alive = self.plain = http_version == "1.1"
        self.content_length = 0
        self.chunked = False
        self.is_msgpack = False
        self.expect: bytes | None = None
        self.upgrade: bytes | None = None
        self.endpoint: Endpoint | None = None
        self.values: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The request target as it was sent."""
        if self._target is None:
            self._target = self.raw[: self.raw.index(b"\r")].split(b" ")[1].decode("ascii")
        return self._target

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy, or somebody who plays one, says whose request this is."""
        if self._is_forwarded is None:
            self._is_forwarded = b"\r\nx-forwarded-" in self._lower
        return self._is_forwarded

    def header(self, name: bytes) -> bytes | None:
        """The value of a header that may stand once. ``ValueError`` where it stands twice."""
        lower = self._lower
        needle = b"\r\n" + name + b":"
        at = lower.find(needle)
        if at < 0:
            return None
        start = at + len(needle)
        if lower.find(needle, start) >= 0:
            raise ValueError(f"header {name.decode('latin-1')} stands more than once")
        return self.raw[start : self.raw.index(b"\r", start)].strip(b" \t")

    def header_values(self, name: bytes) -> list[bytes]:
        """Every value of a header, in the order of its lines."""
        values = []
        needle = b"\r\n" + name + b":"
        at = self._lower.find(needle)
        while at >= 0:
            start = at + len(needle)
            values.append(self.raw[start : self.raw.index(b"\r", start)].strip(b" \t"))
            at = self._lower.find(needle, start)
        return values

    def header_list(self) -> list[tuple[bytes, bytes]]:
        """All header fields in order, names in lower case: what an ASGI scope holds."""
        fields = []
        for line in self.raw.split(b"\r\n")[1:-2]:
            name, _, value = line.partition(b":")
            fields.append((name.lower(), value.strip(b" \t")))
        return fields


def read_head(raw: bytes, limits: Limits, known_host: bytes | None = None) -> LaneHead:
    """Read a head that llhttp has accepted.

    Args:
        raw: from the method to the empty line.
        limits: the bounds to keep.
        known_host: a Host value of this connection that has been found valid.

    Raises:
        HTTPError: 400, 414, 431, 501 or 505; the connection must close after it, since what follows can't be trusted.
    """
    line_end = raw.find(b"\r\n")
    if line_end > limits.request_line:
        raise URITooLong(f"the request line is longer than {limits.request_line} bytes")
    if len(raw) > limits.head_size:
        raise HeadersTooLarge(f"the request head is longer than {limits.head_size} bytes")
    # PERF: counting one byte is memchr, 60 ns for a browser's head; b"\r\n" takes 550. There is no bare LF here.
    if raw.count(b"\n") - 2 > limits.header_count:
        raise HeadersTooLarge(f"the request has more than {limits.header_count} header fields")
    parts = raw[:line_end].split(b" ")
    if len(parts) != 3:
        raise BadRequest(INVALID)
    method, target, version = parts
    http_version = _VERSIONS.get(version)
    if http_version is None:
        raise VersionNotSupported("this server speaks HTTP/1.1 and HTTP/1.0")
    lower = raw.lower()
    head = LaneHead(raw, lower, method.decode("ascii"), http_version)
    if method == b"CONNECT":
        raise Unimplemented("this server is no tunnel")
    if _HASH in target or not target.isascii():
        raise BadRequest(INVALID)
    authority = None
    if not target.startswith(b"/"):
        authority, target = _read_other_target(method, target)
    if _QUESTION_MARK in target:
        head.raw_path, _, head.query_string = target.partition(b"?")
    else:
        head.raw_path = target
        head.query_string = b""
    head.route_key = method + b" " + head.raw_path
    # PERF: by hand and not by `header_values`, and a connection's Host is looked at once: 0.3 µs instead of 1.1.
    at = lower.find(b"\r\nhost:")
    if at < 0:
        if http_version == "1.1":
            raise BadRequest("the Host header is missing")  # RFC 9112 3.2
        head.host = None
    else:
        at += 7
        if lower.find(b"\r\nhost:", at) >= 0:
            raise BadRequest("the Host header stands more than once")
        head.host = host = raw[at : raw.index(b"\r", at)].strip(b" \t")
        if host != known_host or authority is not None:
            _check_host(host, authority)
    # PERF: one search says that a GET asks for nothing special; five `find`s took 1.2 µs on a browser's head, this 0.4.
    demands = _DEMANDS.findall(lower)
    if demands:
        _read_demands(head, demands)
    if method == b"HEAD":
        head.plain = False
    return head


def _read_other_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """Authority and path of a target that is no path: absolute-form, ``*``, or a tunnel's (RFC 9112 3.2)."""
    if target == b"*":
        if method != b"OPTIONS":
            raise BadRequest("the target * is for OPTIONS alone")
        return None, target
    scheme, separator, rest = target.partition(b"://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise BadRequest("the request target must be a path or an http URL")
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    match = _HOST.fullmatch(authority)
    if match is None or not _is_valid_host(match) or not (match["name"] or match["address"]):
        raise BadRequest("the request target's authority is malformed")
    return _without_port(authority, _DEFAULT_PORTS[scheme]), path if path.startswith(b"/") else b"/" + path


def _check_host(host: bytes, authority: bytes | None) -> None:
    match = _HOST.fullmatch(host)
    if match is None or not _is_valid_host(match):
        raise BadRequest("the Host header is malformed")
    if authority is not None and authority not in (_without_port(host, port) for port in _DEFAULT_PORTS.values()):
        raise BadRequest("the Host header contradicts the request target")


def _is_valid_host(match: re.Match[bytes]) -> bool:
    port = match["port"]
    if port and int(port[:6]) > 65535:
        return False
    address = match["address"]
    if address is not None and not address.startswith(b"v"):
        try:
            ipaddress.IPv6Address(address.decode("ascii"))
        except ValueError:
            return False
    return True


def _without_port(authority: bytes, port: bytes) -> bytes:
    return authority.lower().removesuffix(b":" + port).removesuffix(b":")


def _read_demands(head: LaneHead, names: list[bytes]) -> None:
    """Framing and connection options (RFC 9112 6, 9110 7.6.1 and 7.8, 10.1.1) of the fields that are there."""
    if b"content-length" in names:
        value = head.header_values(b"content-length")
        if b"transfer-encoding" in names or len(value) > 1 or not value[0].isdigit() or len(value[0]) > 18:
            raise BadRequest(INVALID)
        head.content_length = int(value[0])
        if len(names) == 1:
            return
    if b"transfer-encoding" in names:
        _check_transfer_encoding(head, head.header_values(b"transfer-encoding"))
        head.chunked = True
        head.plain = False
    if b"connection" in names:
        _read_connection(head, b",".join(head.header_values(b"connection")).lower(), names)
    if b"expect" in names:
        head.plain = False
        if head.http_version == "1.1":
            head.expect = b",".join(head.header_values(b"expect")).lower()
    if b"upgrade" in names or b"proxy-connection" in names:
        head.plain = False


def _read_connection(head: LaneHead, value: bytes, names: list[bytes]) -> None:
    if value == b"keep-alive" and head.http_version == "1.1":
        return  # browsers say what HTTP/1.1 does anyway: see docs/decisions/remembered-heads.md
    head.plain = False
    tokens = {token.strip(b" \t") for token in value.split(b",")}
    if b"close" in tokens:
        head.keep_alive = False
    elif head.http_version == "1.0":
        head.keep_alive = b"keep-alive" in tokens
    if b"upgrade" in tokens and b"upgrade" in names and head.http_version == "1.1":
        head.upgrade = b",".join(head.header_values(b"upgrade")).lower()


def _check_transfer_encoding(head: LaneHead, values: list[bytes]) -> None:
    """Only ``chunked``, once, on HTTP/1.1: anything else is how requests are smuggled (RFC 9112 6.1, 11.2)."""
    if head.http_version != "1.1":
        raise BadRequest("Transfer-Encoding needs HTTP/1.1")
    if len(values) == 1 and values[0].lower() == b"chunked":
        return
    codings = [coding.strip(b" \t").lower() for coding in b",".join(values).split(b",")]
    if codings[-1] != b"chunked" or codings.count(b"chunked") > 1 or not all(codings):
        raise BadRequest(INVALID)
    raise Unimplemented("this server decodes no transfer coding but chunked")


def refusal_of(buffer: bytes) -> HTTPError:
    """What to answer to a head that llhttp refused: it knows that something is wrong, this which status says so."""
    line, separator, _ = buffer.partition(b"\r\n")
    parts = line.split(b" ")
    if not separator or len(parts) != 3:
        return BadRequest(INVALID)
    version = _REQUEST_LINE_VERSION.fullmatch(parts[2])
    if version is not None and version[1] != b"1":
        return VersionNotSupported("this server speaks HTTP/1.1 and HTTP/1.0")
    if version is not None and parts[0].upper() not in _METHODS and _TOKEN.fullmatch(parts[0]):
        return Unimplemented("this server does not know the method")
    return BadRequest(INVALID)


# What llhttp lets through. Any other well-formed method is one that this server does not implement (RFC 9110 9.1).
_METHODS = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY"
    b" OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK"
    b" UNLOCK UNSUBSCRIBE".split()
)
