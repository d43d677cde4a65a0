"""The range of time that a call about numbers asks for."""

from __future__ import annotations

from django.utils import timezone

from monitoring.api.parameters import END, START, ZONE, Parameter
from monitoring.metrics.timerange import DEFAULT_PRESET, PRESETS, TimeRange, TimeRangeError
from tenants.api_access import ApiRequest
from tenants.problems import Problem

TIME_RANGE: Parameter[str] = Parameter(
    "time_range",
    "A range that ends now; wins over `start` and `end`.",
    {"type": "string", "enum": list(PRESETS), "default": DEFAULT_PRESET},
    str,
    DEFAULT_PRESET,
)
RANGE = (TIME_RANGE, START, END, ZONE)


def range_of(request: ApiRequest) -> TimeRange:
    """The range that a call asks for, by default the last 24 hours. Raises 400."""
    try:
        return TimeRange.from_query(request.GET, now=timezone.now())
    except TimeRangeError as error:
        raise Problem(
            400,
            "bad-parameter",
            "The request could not be read",
            str(error),
            errors=[{"loc": ["query", error.field], "msg": str(error)}],
        ) from None
