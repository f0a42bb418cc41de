"""What is asked of every peer that has a database: one request a scenario, and the one right answer."""

from __future__ import annotations

import json

from bench.scenarios import Attempt, Scenario

__all__ = ["SCHEMA", "SQL_SCENARIOS"]

BODY = "Work out everything that can be known before the first request. " * 3
ROWS = 1000

SCHEMA = f"""
CREATE TABLE posts (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    likes integer NOT NULL DEFAULT 0
);
INSERT INTO posts (title, body, likes) SELECT 'post ' || n, '{BODY}', n % 7 FROM generate_series(1, {ROWS}) AS n;
ANALYZE posts;
"""


def post(number: int) -> dict[str, object]:
    return {"id": number, "title": f"post {number}", "body": BODY, "likes": number % 7}


NEW = {"title": "A new post", "body": BODY}
JSON_BODY = {"Content-Type": "application/json"}

SQL_SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "one",
        "one row",
        "GET",
        "/posts/42",
        post(42),
        refused=(
            Attempt("the id is no number", "GET", "/posts/x"),
            Attempt("there is no such row", "GET", "/posts/999999999"),
        ),
    ),
    Scenario(
        "twenty",
        "20 rows",
        "GET",
        "/posts?limit=20",
        [post(number) for number in range(1, 21)],
        refused=(Attempt("the limit is above its maximum", "GET", "/posts?limit=101"),),
    ),
    Scenario("hundred", "100 rows", "GET", "/posts?limit=100", [post(number) for number in range(1, 101)]),
    Scenario(
        "insert",
        "insert",
        "POST",
        "/posts",
        {"title": NEW["title"], "body": NEW["body"], "likes": 0},
        JSON_BODY,
        json.dumps(NEW).encode(),
        refused=(
            Attempt("the title is empty", "POST", "/posts", JSON_BODY, json.dumps({**NEW, "title": ""}).encode()),
            Attempt("the body is missing", "POST", "/posts", JSON_BODY, json.dumps({"title": "x"}).encode()),
        ),
        status=201,
        changing=frozenset({"id"}),
    ),
    Scenario("concurrent", "one row, 20 concurrent", "GET", "/posts/42", post(42), connections=20),
)
