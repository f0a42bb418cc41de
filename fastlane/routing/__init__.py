"""Routing: paths to handlers, declared at import and frozen into a table of compiled endpoints."""

from __future__ import annotations

from fastlane.routing.route import Mount, Route, RouteOptions, WebSocketRoute
from fastlane.routing.router import Router
from fastlane.routing.table import RouteTable

__all__ = ["Mount", "Route", "RouteOptions", "RouteTable", "Router", "WebSocketRoute"]
