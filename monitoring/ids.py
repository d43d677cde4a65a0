"""Our execution ids: UUIDv7 (RFC 9562) whose time is chosen, not taken from the clock."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = (1 << 12) - 1, (1 << 62) - 1
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)


def milliseconds(moment: dt.datetime) -> int:
    """Whole milliseconds since 1970 of an aware datetime, rounded down."""
    return (moment - EPOCH) // _MILLISECOND


def moment(milliseconds_since_1970: int) -> dt.datetime:
    return EPOCH + milliseconds_since_1970 * _MILLISECOND


def new_id(milliseconds_since_1970: int) -> uuid.UUID:
    """A new UUIDv7 of that time with 74 random bits."""
    random = secrets.randbits(74)
    return uuid.UUID(
        int=(milliseconds_since_1970 << 80)
        | _VERSION_7
        | ((random >> 62) & _RANDOM_BITS[0]) << 64
        | _VARIANT
        | (random & _RANDOM_BITS[1])
    )


def milliseconds_of(execution_id: uuid.UUID) -> int:
    """The time in an id, in milliseconds since 1970."""
    return execution_id.int >> 80


def time_of(execution_id: uuid.UUID) -> dt.datetime:
    """The time in an id: the execution's place on every time axis."""
    return moment(execution_id.int >> 80)


def uuid_floor(at: dt.datetime) -> uuid.UUID:
    """The smallest id of that millisecond or later: bound of a range over ids.

    A moment between two milliseconds counts as the later one, so that [start, end) stays exact.
    Moments before 1970 count as 1970.
    """
    ceiling = -((EPOCH - at) // _MILLISECOND)
    return uuid.UUID(int=max(0, ceiling) << 80)
