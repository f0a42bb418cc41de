"""Test clients that run an app as it is compiled for production, without a socket."""

from __future__ import annotations

from fastlane.testing.async_client import AsyncTestClient
from fastlane.testing.client import TestClient
from fastlane.testing.response import HTTPStatusError, TestResponse
from fastlane.testing.websocket import WebSocketDenied

__all__ = ["AsyncTestClient", "HTTPStatusError", "TestClient", "TestResponse", "WebSocketDenied"]
