"""A request on its way into the app: from what a test writes to an ASGI scope and a body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from fastlane.http.headers import encode_header
from fastlane.http.stream import Scope
from fastlane.testing.cookies import CookieJar

__all__ = ["Outgoing", "Params", "RequestOptions", "outgoing_request", "outgoing_websocket"]

Params = Mapping[str, Any] | Sequence[tuple[str, Any]]
HeaderTypes = Mapping[str, str] | Sequence[tuple[str, str]]

DEFAULT_HEADERS = {"host": "testserver", "accept": "*/*", "user-agent": "testclient"}


class RequestOptions(TypedDict, total=False):
    """What every request method takes beside the URL.

    Keys:
        params: added to the URL's query; a list gives a repeated key, None leaves it out.
        headers: a dict, or pairs where a name is repeated.
        cookies: for this request, beside those of the client.
        content: the raw body; an iterable is sent in pieces, without Content-Length.
        data: a form.
        json: anything that msgspec encodes.
        follow_redirects: go where the answer says, up to 20 times (default: the client's).
    """

    params: Params | None
    headers: HeaderTypes | None
    cookies: Mapping[str, str] | None
    content: bytes | str | Iterable[bytes] | None
    data: Params | None
    json: Any
    follow_redirects: bool


class Outgoing:
    """A scope and the pieces of the body."""

    __slots__ = ("chunks", "scope", "url")

    def __init__(self, scope: Scope, chunks: list[bytes], url: str) -> None:
        self.scope = scope
        self.chunks = chunks
        self.url = url

    @property
    def host(self) -> str:
        """The Host header without its port."""
        return host_of(self.scope)

    @property
    def absolute_url(self) -> str:
        """The URL with scheme and host."""
        scope = self.scope
        authority = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        query = f"?{scope['query_string'].decode('ascii')}" if scope["query_string"] else ""
        return f"{scope['scheme']}://{authority}{scope['raw_path'].decode('ascii')}{query}"


def outgoing_request(
    method: str, url: str, options: RequestOptions, headers: Mapping[str, str], cookies: CookieJar
) -> Outgoing:
    """The request that a test describes.

    Args:
        headers, cookies: the client's own.

    Raises:
        TypeError: an option that does not exist, or two bodies.
    """
    unknown = options.keys() - RequestOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"{method.lower()}() has no option {min(unknown)!r}")
    chunks, media_type, length = encode_body(options)
    fields = merged_headers(headers, options.get("headers"))
    names = {name for name, _ in fields}
    if media_type and b"content-type" not in names:
        fields.append((b"content-type", media_type))
    if b"content-length" not in names and b"transfer-encoding" not in names:
        if length is None:
            fields.append((b"transfer-encoding", b"chunked"))
        elif length or method in ("POST", "PUT", "PATCH"):
            fields.append((b"content-length", b"%d" % length))
    scope = base_scope("http", url, options.get("params"), fields)
    scope["method"] = method.upper()
    add_cookies(scope, cookies, options.get("cookies") or {})
    return Outgoing(scope, chunks, url)


def outgoing_websocket(
    url: str,
    params: Params | None,
    own_headers: HeaderTypes | None,
    subprotocols: Sequence[str],
    headers: Mapping[str, str],
    cookies: CookieJar,
) -> Scope:
    """The scope of a WebSocket handshake."""
    fields = merged_headers(headers, own_headers)
    scope = base_scope("websocket", url, params, fields)
    scope["subprotocols"] = list(subprotocols)
    add_cookies(scope, cookies, {})
    return scope


def base_scope(kind: str, url: str, params: Params | None, headers: list[tuple[bytes, bytes]]) -> Scope:
    parts = urlsplit(url)
    if url.startswith("//") or not parts.scheme:
        # No authority in a path, however many slashes it begins with.
        path, _, query = url.partition("#")[0].partition("?")
        scheme = "http"
    else:
        path, query, scheme = parts.path or "/", parts.query, parts.scheme
        headers = [(b"host", parts.netloc.encode("ascii")), *(pair for pair in headers if pair[0] != b"host")]
    pairs = encode_pairs(params)
    query_string = "&".join(filter(None, (quote(query, safe="%&=+!$'()*,;:@/?-._~[]"), urlencode(pairs))))
    raw_path = quote(path, safe="%/!$&'()*+,;=:@-._~")
    if kind == "websocket":
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("ascii"),
        "query_string": query_string.encode("ascii"),
        "root_path": "",
        "headers": headers,
        "client": ("testclient", 50000),
        "server": ("testserver", 443 if scheme in ("https", "wss") else 80),
        "extensions": {"websocket.http.response": {}} if kind == "websocket" else {},
        "state": {},
    }


def encode_body(options: RequestOptions) -> tuple[list[bytes], bytes | None, int | None]:
    """The pieces, their media type, and their length where it is known beforehand."""
    given = [
        name for name, value in options.items() if name == "json" or (name in ("content", "data") and value is not None)
    ]
    if len(given) > 1:
        raise TypeError(f"a request has one body, not {' and '.join(given)}")
    if "json" in given:
        body = msgspec.json.encode(options.get("json"))
        return [body], b"application/json", len(body)
    if "data" in given:
        body = urlencode(encode_pairs(options.get("data"))).encode("ascii")
        return [body], b"application/x-www-form-urlencoded", len(body)
    content = options.get("content")
    if content is None:
        return [], None, 0
    if isinstance(content, str):
        content = content.encode("utf-8")
    if isinstance(content, bytes):
        return [content], None, len(content)
    return list(content), None, None


def encode_pairs(params: Params | None) -> list[tuple[str, str]]:
    pairs = []
    for name, value in params.items() if isinstance(params, Mapping) else params or ():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                pairs.append((name, str(item).lower() if isinstance(item, bool) else str(item)))
    return pairs


def merged_headers(defaults: Mapping[str, str], own: HeaderTypes | None) -> list[tuple[bytes, bytes]]:
    """The request's own headers, and the defaults that it does not name."""
    pairs = list(own.items() if isinstance(own, Mapping) else own or ())
    names = {name.lower() for name, _ in pairs}
    rest = {name.lower(): value for name, value in {**DEFAULT_HEADERS, **defaults}.items()}
    return [encode_header(name, value) for name, value in rest.items() if name not in names] + [
        encode_header(name, value) for name, value in pairs
    ]


def add_cookies(scope: Scope, jar: CookieJar, own: Mapping[str, str]) -> None:
    """One Cookie field: those of the jar that are for this URL, unless the request has its own of that name."""
    pairs = [pair for pair in jar.sent_to(host_of(scope), scope["path"]) if pair[0] not in own] + list(own.items())
    if pairs:
        scope["headers"].append(encode_header("cookie", "; ".join(f"{name}={value}" for name, value in pairs)))


def host_of(scope: Scope) -> str:
    authority: str = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
    return authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
