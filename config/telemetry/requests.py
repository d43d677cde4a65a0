"""Counts and times requests, in each web process; `/metrics` adds the processes up.

prometheus_client keeps the numbers of several processes in files of one folder (`sharing`).
"""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from config.telemetry.sharing import FOLDER

_AREAS: Final = {
    "static": "static",
    "health": "health",
    "metrics": "health",
    "internal": "health",
    "api": "api",
    "v1": "api",
    "admin": "admin",
}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Where the aims of DESIGN lie: 50 ms for pages, 1 s at most for anything a person waits for.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_requests = Counter(
    "flowwatch_http_requests",
    "Answered requests, those that were refused before any work too.",
    ["area", "method", "status"],
)
_seconds = Histogram(
    "flowwatch_http_request_seconds",
    "From the first byte of a request's head to the first of its answer.",
    ["area"],
    buckets=_SECONDS,
)


def count(path: str, method: str, status: int, seconds: float) -> None:
    """Count an answered request; whatever was asked for, there are few different names."""
    area = _AREAS.get(path.split("/", 2)[1] if path.startswith("/") else "", "pages")
    _requests.labels(area, method if method in _METHODS else "other", status).inc()
    _seconds.labels(area).observe(seconds)


def text() -> bytes:
    """The numbers of all web processes, those that ended too; of this one where none shares."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
