"""Host: RFC 9112 3.2, RFC 9110 4.2 and 7.2, and the grammar of RFC 3986 3.2.2.

A field that is inside the grammar but names no host that anyone has (``a,b``, a port over 65535) may also be refused.
"""

from __future__ import annotations

import pytest

from .conftest import Wire
from .table import DELIVERIES, Case, either, refused, served


def request(host: bytes, version: bytes = b"1.1") -> bytes:
    return b"GET / HTTP/" + version + b"\r\nHost:" + host + b"\r\n\r\n"


def good(name: str, value: bytes) -> Case:
    return served(name, request(b" " + value), b"GET /")


def bad(name: str, value: bytes) -> Case:
    return refused(name, request(b" " + value))


def odd(name: str, value: bytes) -> Case:
    return either(name, request(b" " + value), served("", b"", b"GET /"), refused("", b""))


GOOD = [
    good("a letter", b"a"),
    good("a name", b"example.org"),
    good("capitals", b"EXAMPLE.Org"),
    good("a port", b"a:8000"),
    good("port 80", b"a:80"),
    good("port 65535", b"a:65535"),
    good("an empty port", b"a:"),
    good("digits and hyphens", b"a-1.b-2.example"),
    good("a trailing dot", b"example.org."),
    good("an underscore", b"my_service"),
    good("an underscore and a port", b"my_service:8000"),
    good("punycode", b"xn--bcher-kva.example"),
    good("a tilde", b"a~b"),
    good("a percent-encoded letter", b"ex%41mple"),
    good("only digits", b"123"),
    good("IPv4", b"127.0.0.1"),
    good("IPv4 and a port", b"127.0.0.1:8000"),
    good("IPv6 loopback", b"[::1]"),
    good("IPv6 and a port", b"[::1]:8000"),
    good("IPv6 and an empty port", b"[::1]:"),
    good("IPv6 in full", b"[2001:0db8:0000:0000:0000:ff00:0042:8329]"),
    good("IPv6, all zeros", b"[::]"),
    good("IPv6 in capitals", b"[FE80::A]"),
    good("IPv6 with IPv4 inside", b"[::ffff:192.0.2.1]"),
    good("localhost", b"localhost:8000"),
    good("a label of 63 letters", b"a" * 63 + b".example"),
    served("no space after the colon", request(b"a"), b"GET /"),
    served("many spaces around", request(b"    a   "), b"GET /"),
    served("tabs around", request(b"\ta\t"), b"GET /"),
    served("the field's name in capitals", b"GET / HTTP/1.1\r\nHOST: a\r\n\r\n", b"GET /"),
    served("the field's name in mixed case", b"GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", b"GET /"),
    served("the last field", b"GET / HTTP/1.1\r\nAccept: */*\r\nX: y\r\nHost: a\r\n\r\n", b"GET /"),
    served("X-Forwarded-Host beside it", b"GET / HTTP/1.1\r\nX-Forwarded-Host: b\r\nHost: a\r\n\r\n", b"GET /"),
    served("1.0 without it", b"GET / HTTP/1.0\r\n\r\n", b"GET /", kept=False),
    served("1.0 with it", request(b" a", b"1.0"), b"GET /", kept=False),
]

ODD = [
    either("empty (RFC 9112 3.2: no authority)", request(b""), served("", b"", b"GET /"), refused("", b"")),
    either("only spaces", request(b"   "), served("", b"", b"GET /"), refused("", b"")),
    odd("only a port", b":80"),
    odd("only a colon", b":"),
    odd("a scheme: a name and an empty port", b"http:"),
    odd("a comma", b"a,b"),
    odd("an asterisk", b"*"),
    odd("an asterisk label", b"*.example.org"),
    odd("sub-delimiters", b"a!$&'()*+;=b"),
    odd("an empty label", b"a..b"),
    odd("a dot", b"."),
    odd("a leading dot", b".a"),
    odd("a leading hyphen", b"-a"),
    odd("a port over 65535", b"a:65536"),
    odd("a port of many digits", b"a:" + b"9" * 30),
    odd("zeros before the port", b"a:00080"),
    odd("IPv4 out of range", b"256.256.256.256"),
    odd("hexadecimal IPv4", b"0x7f.1"),
    odd("IPvFuture", b"[v1.a:b]"),
    odd("a name of 300 bytes", b"a" * 300),
    odd("an encoded slash", b"a%2Fb"),
    odd("an encoded NUL", b"a%00b"),
    either(
        "empty, with an asterisk",
        b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
        served("", b"", b"OPTIONS *"),
        Case("", b"", (type(refused("", b"").wanted[0])((frozenset({200, 204}),), None),)),
        refused("", b""),
    ),
]

BAD = [
    bad("a path", b"a/b"),
    bad("a slash at the end", b"a/"),
    bad("only a slash", b"/"),
    bad("a query", b"a?b"),
    bad("a fragment", b"a#b"),
    bad("user information", b"user@a"),
    bad("a password", b"user:pw@a"),
    bad("an at sign at the end", b"a@"),
    bad("an at sign first", b"@a"),
    bad("a space inside", b"a b"),
    bad("a tab inside", b"a\tb"),
    bad("a list with a space", b"a, b"),
    bad("a scheme", b"http://a"),
    bad("a backslash", b"a\\b"),
    bad("a double quote", b'a"b'),
    bad("a quoted name", b'"a"'),
    bad("an angle bracket", b"a<b"),
    bad("another angle bracket", b"a>b"),
    bad("a caret", b"a^b"),
    bad("a backtick", b"a`b"),
    bad("braces", b"a{b}"),
    bad("a bar", b"a|b"),
    bad("letters in the port", b"a:b"),
    bad("a letter behind the port", b"a:80x"),
    bad("a negative port", b"a:-1"),
    bad("a signed port", b"a:+80"),
    bad("a space before the port", b"a: 80"),
    bad("a space before the colon of the port", b"a :80"),
    bad("two ports", b"a:80:80"),
    bad("two colons", b"a::80"),
    bad("a port of digits that are not ASCII", "a:８０".encode()),
    bad("a path behind the port", b"a:80/x"),
    bad("user information behind the port", b"a:80@evil"),
    bad("IPv6 without brackets", b"::1"),
    bad("long IPv6 without brackets", b"2001:db8::1"),
    bad("an open bracket", b"[::1"),
    bad("a closing bracket", b"::1]"),
    bad("two closing brackets", b"[::1]]"),
    bad("empty brackets", b"[]"),
    bad("a name in brackets", b"[a.example]"),
    bad("IPv4 in brackets", b"[127.0.0.1]"),
    bad("text behind the bracket", b"[::1]x"),
    bad("text before the bracket", b"x[::1]"),
    bad("letters in the port of IPv6", b"[::1]:x"),
    bad("IPv6 of two groups", b"[1:2]"),
    bad("IPv6 of nine groups", b"[1:2:3:4:5:6:7:8:9]"),
    bad("IPv6 with two gaps", b"[1::2::3]"),
    bad("IPv6 with a letter", b"[g::1]"),
    bad("IPv6 with five digits", b"[12345::1]"),
    bad("IPv6 with three colons", b"[:::1]"),
    bad("IPv6 with a raw zone", b"[fe80::1%eth0]"),
    bad("IPv6 with a space", b"[::1 ]"),
    bad("a bracket inside", b"a[b]"),
    bad("a percent sign", b"a%"),
    bad("half an escape", b"a%4"),
    bad("an escape that is none", b"a%zz"),
    bad("a NUL", b"a\x00b"),
    bad("a control character", b"a\x01b"),
    bad("DEL", b"a\x7fb"),
    bad("a vertical tab", b"a\x0b"),
    bad("a bare CR", b"a\rb"),
    bad("UTF-8", "bücher.example".encode()),
    bad("Latin-1", b"b\xfccher.example"),
    bad("a no-break space", b"a\xa0"),
    refused("missing", b"GET / HTTP/1.1\r\n\r\n"),
    refused("missing among others", b"GET / HTTP/1.1\r\nAccept: */*\r\nX-Host: a\r\n\r\n"),
    refused("missing on HEAD", b"HEAD / HTTP/1.1\r\n\r\n", heads=[0]),
    refused(
        "missing on POST, its body a request",
        b"POST / HTTP/1.1\r\nContent-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n",
    ),
    refused("twice the same", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    refused("twice, different", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    refused("twice, in different case", b"GET / HTTP/1.1\r\nHost: a\r\nHOST: a\r\n\r\n"),
    refused("twice, apart", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nZ: w\r\nhost: a\r\n\r\n"),
    refused("twice, one empty", b"GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n"),
    refused("three times", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nHost: a\r\n\r\n"),
    refused("twice in 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    refused("broken in 1.0", request(b" a b", b"1.0")),
    refused("a space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    refused("a tab before the colon", b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"),
    refused("a space before the name", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    refused("folded", b"GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n"),
    refused("folded behind another field", b"GET / HTTP/1.1\r\nX: y\r\n Host: a\r\n\r\n"),
    refused("an equals sign instead of the colon", b"GET / HTTP/1.1\r\nHost= a\r\n\r\n"),
]

CASES = GOOD + ODD + BAD


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_host(wire: Wire, case: Case, delivery: str) -> None:
    wire.check(CASES, case, delivery)
