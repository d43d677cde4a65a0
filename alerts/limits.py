"""How many messages one target gets: a storm is a few messages, and nothing is dropped.

The first ones go out at once. When more than a few come within minutes, the rest waits a little and
goes out as a summary that counts and links them all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from django.conf import settings

SHORT_SECONDS, MOST_IN_SHORT = 300.0, 10
LONG_SECONDS, MOST_IN_LONG = 3_600.0, 30
ONE_BY_ONE: Final = 5
"""Messages within the short time that go out each on its own."""

_LATELY: Final = ((SHORT_SECONDS, MOST_IN_SHORT), (LONG_SECONDS, MOST_IN_LONG))

_GATHER_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 60.0
_LONG_PAUSE_SECONDS: Final = 180.0


class Act(Enum):
    """What may be done for a target now."""

    NOTHING = "nothing"
    SEND = "send"
    SUM_UP = "sum up"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now; for NOTHING, when to look again (None: nothing waits)."""

    act: Act
    again_at: dt.datetime | None = None


def plan(reached: Sequence[dt.datetime], new: int, now: dt.datetime) -> Plan:
    """Decide for `new` messages that were never tried.

    `reached` are the times, oldest first, at which the target got a message within the last hour.
    """
    if not new:
        return Plan(Act.NOTHING)
    free_at = allowed_at(reached, now)
    if free_at > now:
        return Plan(Act.NOTHING, free_at)
    lately = [at for at in reached if at > now - _seconds(SHORT_SECONDS)]
    if new + len(lately) <= ONE_BY_ONE:
        return Plan(Act.SEND)
    if not lately and new > 1:
        # A storm that begins: its first message says at once that something is wrong.
        return Plan(Act.SEND)
    rested_at = reached[-1] + _pause(len(lately), len(reached)) if reached else now
    if rested_at > now:
        return Plan(Act.NOTHING, rested_at)
    return Plan(Act.SUM_UP if new > 1 else Act.SEND)


def allowed_at(
    reached: Sequence[dt.datetime],
    now: dt.datetime,
    bounds: Sequence[tuple[float, int]] = _LATELY,
) -> dt.datetime:
    """When the target may get its next message at the earliest, whatever it is.

    `bounds` are lengths of time in seconds with the most messages within each.
    """
    times = [now]
    for seconds, most in bounds:
        span = _seconds(seconds)
        within = [at for at in reached if at > now - span]
        if len(within) >= most:
            times.append(within[-most] + span)
    return max(times)


def _pause(lately: int, in_the_hour: int) -> dt.timedelta:
    if in_the_hour >= MOST_IN_SHORT:
        return _seconds(_LONG_PAUSE_SECONDS)
    return _seconds(_GATHER_SECONDS if lately < ONE_BY_ONE else _PAUSE_SECONDS)


def _seconds(value: float) -> dt.timedelta:
    return dt.timedelta(seconds=settings.PACE.seconds(value))


def longest_memory() -> dt.timedelta:
    """How far back messages to a target count."""
    return _seconds(LONG_SECONDS)
