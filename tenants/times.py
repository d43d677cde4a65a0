"""Times as text: one way to write them and one to read them, for all apps."""

from __future__ import annotations

import datetime as dt
from typing import Final

LONGEST: Final = 64
"""Characters that a time may have; the longest form of ISO 8601 has half of them."""


def utc_text(moment: dt.datetime) -> str:
    """ISO 8601 in UTC to the millisecond, as machines read it: `2026-02-14T10:30:00.000Z`."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
    """A moment in ISO 8601, in UTC; without an offset it is a time of `zone`.

    Raises ValueError with words for whoever wrote it.
    """
    if len(text) > LONGEST:
        raise ValueError(f"may have at most {LONGEST} characters")
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is dt.UTC:
            return moment
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time in ISO 8601, like 2026-02-14T10:30:00Z") from None
