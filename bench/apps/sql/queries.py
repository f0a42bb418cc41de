"""The statements that every peer sends, and where it sends them."""

import os

__all__ = ["CONNECTIONS", "INSERT", "MANY", "ONE", "URL"]

URL = os.environ.get("BENCH_DATABASE", "")
CONNECTIONS = 10

ONE = "SELECT id, title, body, likes FROM posts WHERE id = $1"
MANY = "SELECT id, title, body, likes FROM posts ORDER BY id LIMIT $1"
INSERT = "INSERT INTO posts (title, body) VALUES ($1, $2) RETURNING id, title, body, likes"
