"""The same five endpoints on the same PostgreSQL, as each peer's documentation would write them.

``BENCH_DATABASE`` is its url. Every pool has ten connections.
"""
