"""Times as the log keeps them: ISO 8601 in UTC with microseconds, so that texts compare as times do."""

from __future__ import annotations

import datetime as dt
import re

_ISO = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<time>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d+))?)?"
    r"\s?(?P<zone>Z|z|[+-]\d\d(?::?\d\d)?)?"
)


def stored(moment: dt.datetime) -> str:
    """The text of a time; one without a zone is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.timezone.utc)
    return moment.astimezone(dt.timezone.utc).isoformat(timespec="microseconds")


def now() -> str:
    return stored(dt.datetime.now(dt.timezone.utc))


def read_time(text: str, zone: dt.tzinfo | None = dt.timezone.utc) -> dt.datetime | None:
    """The time of an ISO 8601 text, in `zone` when it names none; None when it is no time.

    Python's own `fromisoformat` knows `Z` and other fractions than of 3 and 6 digits from 3.11 on.
    """
    found = _ISO.fullmatch(text.strip())
    if found is None:
        return None
    fraction = (found["fraction"] or "0")[:6].ljust(6, "0")
    time = found["time"] or "00:00"
    seconds = time if time.count(":") == 2 else f"{time}:00"
    try:
        moment = dt.datetime.fromisoformat(f"{found['day']}T{seconds}.{fraction}")
        return moment.replace(tzinfo=_zone(found["zone"]) or zone)
    except ValueError:
        return None


def _zone(text: str | None) -> dt.tzinfo | None:
    """Raises ValueError."""
    if text is None:
        return None
    if text in "Zz":
        return dt.timezone.utc
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    offset = dt.timedelta(hours=hours, minutes=minutes)
    return dt.timezone(-offset if text[0] == "-" else offset)
