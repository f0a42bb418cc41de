"""What is asked of every peer: one request a scenario, the one right answer, and what must be refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

__all__ = ["BROWSER_HEADERS", "SCENARIOS", "Attempt", "Scenario", "scenario_named"]


@dataclass(frozen=True)
class Attempt:
    """One request: what differs from the scenario's own is said in ``reason``."""

    reason: str
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Scenario:
    """A request that is measured.

    Attributes:
        name: short, for options and for file names.
        title: for the table.
        answer: the JSON value that a peer has to send.
        status: of that answer.
        changing: fields of the answer whose value is another one each time.
        refused: requests that a peer has to refuse with a status from 400 to 499.
        varies: every request carries a header of its own value (``X-Request-Id``).
        connections: how many load it; None: as many as the run says.
    """

    name: str
    title: str
    method: str
    target: str
    answer: object
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    refused: tuple[Attempt, ...] = ()
    varies: bool = False
    status: int = 200
    changing: frozenset[str] = frozenset()
    connections: int | None = None

    @property
    def request(self) -> Attempt:
        return Attempt("the measured request", self.method, self.target, self.headers, self.body)

    @property
    def answer_bytes(self) -> bytes:
        """The answer as the floor sends it: compact JSON."""
        return json.dumps(self.answer, separators=(",", ":")).encode()


HELLO = {"message": "Hello, world!"}

# What Chrome sends with a page load, a session cookie included; wrk adds Host.
BROWSER_HEADERS = {
    "Connection": "keep-alive",
    "Cache-Control": "max-age=0",
    "sec-ch-ua": '"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
    " Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,sv;q=0.8",
    "Cookie": "session=6f1c2b8e9d4a47d0b1f3; theme=dark; consent=1",
}

ORDER = {
    "customer": "Ada Lovelace",
    "email": "ada@example.org",
    "sku": "LMP-0042",
    "quantity": 3,
    "price": 12.25,
    "currency": "SEK",
    "tags": ["gift", "express"],
}
ORDER_HEADERS = {"Content-Type": "application/json", "X-Tenant": "north-shop"}
ORDER_TARGET = "/orders?priority=2&dry_run=true"


def order(reason: str, *, target: str = ORDER_TARGET, tenant: str | None = "north-shop", **changes: object) -> Attempt:
    """An order with some fields changed; a field changed to None is left out."""
    body = {name: value for name, value in {**ORDER, **changes}.items() if value is not None}
    headers = {name: value for name, value in ORDER_HEADERS.items() if name != "X-Tenant"}
    if tenant is not None:
        headers["X-Tenant"] = tenant
    return Attempt(reason, "POST", target, headers, json.dumps(body).encode())


REFUSED_ORDERS = (
    order("customer is empty", customer=""),
    order("email is too long", email="a" * 121),
    order("sku does not match its pattern", sku="lmp-42"),
    order("quantity is above its maximum", quantity=101),
    order("quantity is no integer", quantity=1.5),
    order("price is not above 0", price=0),
    order("currency is none of the three", currency="XXX"),
    order("there are nine tags", tags=["a"] * 9),
    order("a tag is too long", tags=["a" * 21]),
    order("sku is missing", sku=None),
    order("the tenant header is missing", tenant=None),
    order("the tenant header is too short", tenant="no"),
    order("priority is missing", target="/orders?dry_run=true"),
    order("priority is above its maximum", target="/orders?priority=6&dry_run=true"),
    order("dry_run is no boolean", target="/orders?priority=2&dry_run=maybe"),
    replace(order("the body is no JSON"), body=b'{"customer": '),
)

ITEMS = [
    {"id": n, "name": f"item {n}", "price": n + 0.25, "in_stock": n % 3 != 0, "tags": ["garden", "sale"]}
    for n in range(1, 101)
]

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("hello", "hello", "GET", "/hello", HELLO),
    Scenario(
        "schema",
        "schema: 7 fields, header, 2 query values",
        "POST",
        ORDER_TARGET,
        {
            "sku": "LMP-0042",
            "quantity": 3,
            "total": 36.75,
            "currency": "SEK",
            "tenant": "north-shop",
            "priority": 2,
            "dry_run": True,
        },
        ORDER_HEADERS,
        json.dumps(ORDER).encode(),
        REFUSED_ORDERS,
    ),
    Scenario("browser", "a browser's headers", "GET", "/hello", HELLO, BROWSER_HEADERS),
    Scenario(
        "find",
        "path + query",
        "GET",
        "/items/42?q=lamp&limit=20&exact=true",
        {"id": 42, "q": "lamp", "limit": 20, "exact": True},
        refused=(
            Attempt("id is no integer", "GET", "/items/abc?q=lamp&limit=20"),
            Attempt("limit is above its maximum", "GET", "/items/42?q=lamp&limit=101"),
            Attempt("limit is no integer", "GET", "/items/42?q=lamp&limit=many"),
            Attempt("q is missing", "GET", "/items/42?limit=20"),
            Attempt("q is too long", "GET", f"/items/42?limit=20&q={'a' * 51}"),
        ),
    ),
    Scenario("objects", "100 objects out", "GET", "/objects", ITEMS),
    Scenario(
        "dependency",
        "a dependency",
        "GET",
        "/me",
        {"id": 7, "name": "user 7"},
        {"X-User": "7"},
        refused=(
            Attempt("the header is missing", "GET", "/me"),
            Attempt("the header is no integer", "GET", "/me", {"X-User": "seven"}),
        ),
    ),
    Scenario("awaits", "a handler that suspends", "GET", "/awaits", HELLO),
    Scenario("varied", "heads that differ", "GET", "/hello", HELLO, BROWSER_HEADERS, varies=True),
)


def scenario_named(name: str) -> Scenario:
    """Raises KeyError with the names there are."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise KeyError(f"no scenario {name!r}; there are {', '.join(scenario.name for scenario in SCENARIOS)}")
