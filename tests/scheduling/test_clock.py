"""Due instants over zones and the edges of daylight saving, against a table and a slow oracle."""

from __future__ import annotations

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from scheduling.clock import Frequency, Timetable


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text.strip()).replace(tzinfo=dt.UTC)


def timetable(frequency: str, at: str, zone: str, weekday: int = 0) -> Timetable:
    return Timetable(Frequency(frequency), dt.time.fromisoformat(at), ZoneInfo(zone), weekday)


def rows() -> Iterator[list[str]]:
    for line in Path(__file__).with_name("due_instants.txt").read_text().splitlines():
        if not line.startswith("#"):
            yield line.split("|")


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: " ".join("|".join(row[:2]).split()))
def test_the_next_three_are_as_the_table_says(row: list[str]) -> None:
    frequency, at, zone, weekday = row[0].split()
    now, *expected = map(utc, row[1:])
    assert timetable(frequency, at, zone, int(weekday)).upcoming(now, 3) == expected


# --- a slow oracle ------------------------------------------------------------------------------
MINUTE = dt.timedelta(minutes=1)
ZONES = [
    "UTC", "America/Chicago", "America/New_York", "America/St_Johns", "America/Santiago",
    "America/Havana", "Europe/Berlin", "Europe/London", "Africa/Cairo", "Africa/Casablanca",
    "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Jerusalem", "Australia/Lord_Howe",
    "Australia/Adelaide", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Apia", "Antarctica/Troll",
]  # fmt: skip


@cache
def walls(zone: str, day: dt.date) -> dict[int, list[tuple[dt.datetime, dt.datetime]]]:
    """What a walk over the minutes of a UTC day meets, by minute of the hour.

    Each is (instant, wall time that begins or is skipped at it).
    """
    info = ZoneInfo(zone)
    instant = dt.datetime.combine(day, dt.time(), dt.UTC)
    met: dict[int, list[tuple[dt.datetime, dt.datetime]]] = defaultdict(list)
    before = (instant - MINUTE).astimezone(info).replace(tzinfo=None, fold=0)
    for _ in range(24 * 60):
        wall = instant.astimezone(info).replace(tzinfo=None, fold=0)
        step = min(wall, before + MINUTE)
        while step <= wall:
            met[step.minute].append((instant, step))
            step += MINUTE
        before, instant = wall, instant + MINUTE
    return met


def oracle(table: Timetable, zone: str, now: dt.datetime) -> dt.datetime:
    """Walk minute by minute, from two days before; a wall time is due when it comes first."""
    seen: set[dt.datetime] = set()
    every = {"daily": 24, "12h": 12, "6h": 6, "weekly": 24}[table.frequency]
    for offset in range(-2, 12):
        for instant, wall in walls(zone, (now + dt.timedelta(days=offset)).date())[table.at.minute]:
            if (wall.hour - table.at.hour) % every or wall in seen:
                continue
            if table.frequency == "weekly" and wall.weekday() != table.weekday:
                continue
            seen.add(wall)
            if instant > now:
                return instant
    raise AssertionError("nothing within twelve days")


def test_twenty_thousand_random_cases_equal_the_slow_oracle() -> None:
    chance = random.Random(20_261_121)
    # Few days, so that the oracle's minutes are walked once: most are edges of some zone.
    edges = [
        dt.datetime(2026, month, day, tzinfo=dt.UTC)
        for month, day in ((3, 7), (3, 28), (4, 4), (9, 26), (10, 3), (10, 24), (10, 31))
    ]
    edges.append(dt.datetime(2011, 12, 29, tzinfo=dt.UTC))
    hours = [*range(24), 0, 1, 2, 3, 23]
    for number in range(20_000):
        zone = ZONES[number % len(ZONES)]
        table = Timetable(
            chance.choice(list(Frequency)),
            dt.time(chance.choice(hours), chance.choice([0, 15, 30, 45, 59, chance.randrange(60)])),
            ZoneInfo(zone),
            chance.randrange(7),
        )
        now = chance.choice(edges) + dt.timedelta(seconds=chance.randrange(2 * 86_400))
        assert table.next_after(now) == oracle(table, zone, now), (table, now)
