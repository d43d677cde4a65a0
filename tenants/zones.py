"""The time zones: which there are, what people write for them, what to offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone

from tenants.ui.times import offset_of

AREAS = (
    *("Africa/", "America/", "Antarctica/", "Arctic/", "Asia/", "Atlantic/", "Australia/"),
    *("Europe/", "Indian/", "Pacific/"),
)
"""Continents and oceans: what stands below other heads ("US/", "Etc/") repeats them."""


_NO_PLACES = frozenset({"localtime", "Factory"})
"""Files of the database that are no zones: what a server is set to, and that it is set to none."""


@cache
def zone_names() -> tuple[str, ...]:
    """All names, sorted; read once, as finding them opens some 600 files."""
    return tuple(sorted(available_timezones() - _NO_PLACES))


@cache
def known_zones() -> frozenset[str]:
    """The same names, to ask whether one exists."""
    return frozenset(zone_names())


@cache
def zones_by_spelling() -> Mapping[str, str]:
    """Return zones by what may be typed for them, in lower case: the name, or its city alone."""
    cities = {
        name.rpartition("/")[2].casefold(): name for name in zone_names() if name.startswith(AREAS)
    }
    return cities | {name.casefold(): name for name in zone_names()}


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone to offer, with its time at this moment."""

    name: str
    now: str


def offered_zones() -> list[Zone]:
    """Return UTC and the zones of cities, by name."""
    now = timezone.now()
    names = ("UTC", *(name for name in zone_names() if name.startswith(AREAS)))
    return [Zone(name, _time_of(now.astimezone(ZoneInfo(name)))) for name in names]


def _time_of(there: datetime) -> str:
    return f"{there:%H:%M}, {offset_of(there)}"
