"""The names of the time zones."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones


@cache
def zone_names() -> tuple[str, ...]:
    """All names, sorted; read once, as finding them opens some 600 files."""
    return tuple(sorted(available_timezones()))


@cache
def known_zones() -> frozenset[str]:
    """The same names, to ask whether one exists."""
    return frozenset(zone_names())
