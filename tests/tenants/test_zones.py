"""The names of the time zones are found once, not for each form."""

from __future__ import annotations

import zoneinfo

from tenants.zones import known_zones, zone_names


def test_the_names_are_those_of_the_time_zone_database() -> None:
    assert known_zones() == zoneinfo.available_timezones() - {"localtime", "Factory"}
    assert list(zone_names()) == sorted(known_zones())


def test_they_are_read_once() -> None:
    assert zone_names() is zone_names()
    assert known_zones() is known_zones()
