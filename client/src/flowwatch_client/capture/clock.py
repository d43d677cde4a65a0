"""Times of one execution: a wall clock read once, and a clock that never goes back."""

from __future__ import annotations

import time
from datetime import datetime, timezone

now = time.perf_counter
"""Seconds of a clock that only goes forward."""


class Clock:
    """Turns instants of `now` into texts; setting the system's clock meanwhile changes nothing."""

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        self._ahead = time.time() - now()

    def text(self, instant: float) -> str:
        """ISO 8601 in UTC with microseconds."""
        return datetime.fromtimestamp(self._ahead + instant, timezone.utc).isoformat(
            timespec="microseconds"
        )


def milliseconds(start: float, end: float) -> int:
    return round((end - start) * 1000)
