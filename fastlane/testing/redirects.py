"""Where a redirect leads, and with what (RFC 9110 15.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

from fastlane.testing.outgoing import RequestOptions

if TYPE_CHECKING:
    from fastlane.testing.outgoing import Outgoing
    from fastlane.testing.response import TestResponse

__all__ = ["MOST", "redirected"]

MOST = 20
"""Redirects in a row, as browsers have it."""


def redirected(outgoing: Outgoing, options: RequestOptions, response: TestResponse) -> tuple[str, str, RequestOptions]:
    """Method, URL and options of the request that follows.

    303 makes a GET of everything, 301 and 302 make one of a POST, as browsers do; 307 and 308 send the same again.
    Credentials stay with their host.
    """
    before = outgoing.absolute_url
    url = urldefrag(urljoin(before, response.headers["location"])).url
    method: str = outgoing.scope["method"]
    dropped = {"host", "content-length", "transfer-encoding"}
    follows = RequestOptions()
    if (response.status == 303 and method != "HEAD") or (response.status in (301, 302) and method == "POST"):
        method = "GET"
        dropped |= {"content-type"}
    elif outgoing.chunks:
        follows["content"] = b"".join(outgoing.chunks)
    if urlsplit(url).netloc != urlsplit(before).netloc:
        dropped |= {"authorization"}
    else:
        follows["cookies"] = options.get("cookies")
    follows["headers"] = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in outgoing.scope["headers"]
        if name != b"cookie" and name.decode("latin-1") not in dropped
    ]
    return method, url, follows
