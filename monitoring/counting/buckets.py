"""Where on the time axis an execution counts."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from monitoring.ids import milliseconds_of, moment
from monitoring.models import Level

BUCKET: Final = Level.FIVE_MINUTES.length
"""The finest bucket that rollups keep."""

BUCKET_MS: Final = BUCKET // dt.timedelta(milliseconds=1)


def bucket_of(execution_id: uuid.UUID) -> dt.datetime:
    """Start of the finest bucket in which an execution counts."""
    at = milliseconds_of(execution_id)
    return moment(at - at % BUCKET_MS)
