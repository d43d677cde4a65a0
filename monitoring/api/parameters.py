"""Parameters of addresses: each reads itself from a request and describes itself for OpenAPI.

What can't be read is 400 with the parameter's name.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.http import HttpRequest

from monitoring.metrics.timerange import asked_time
from monitoring.words import Status, status_from_word
from tenants import times
from tenants.problems import Problem
from tenants.zones import known_zones

_T = TypeVar("_T")

_LIMITS = settings.LIMITS
_INT64_MAX = 2**63 - 1
_LONGEST = 1_000
"""Characters of a value whose schema says no `maxLength`; more is refused before it is read."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter(Generic[_T]):
    """A parameter of the query or a header; `parse` raises ValueError with words for people."""

    name: str
    description: str
    schema: Mapping[str, Any]
    parse: Callable[[str], _T]
    default: _T
    place: str = "query"

    def of(self, request: HttpRequest) -> _T:
        """Its value in a request; the default when it is absent or empty."""
        text = self._text(request)
        if not text:
            return self.default
        longest = self.schema.get("maxLength", _LONGEST)
        if len(text) > longest:
            raise self.refusal(f"may have at most {longest:,} characters")
        try:
            return self.parse(text)
        except (ValueError, OverflowError) as error:
            raise self.refusal(str(error)) from None

    def refusal(self, msg: str) -> Problem:
        """The answer that says what is wrong with this parameter."""
        return Problem(
            400,
            "bad-parameter",
            "The request could not be read",
            f"{self.name}: {msg}.",
            errors=[{"loc": [self.place, self.name], "msg": msg}],
        )

    def _text(self, request: HttpRequest) -> str | None:
        if self.place == "header":
            return request.headers.get(self.name)
        return request.GET.get(self.name)


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # int() would take "1_000", " 7" and digits of every script.
        if not re.fullmatch(r"-?[0-9]{1,20}", text):
            raise ValueError("must be a whole number")
        number = int(text)
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high}")
        return number

    return parse


def clean_text(text: str) -> str:
    """The text as PostgreSQL can hold it: NUL and lone surrogates become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _end_time(text: str) -> dt.datetime:
    return asked_time(text, ends=True)


def parse_statuses(text: str) -> frozenset[Status]:
    """Statuses in any spelling, separated by commas."""
    found = set()
    for word in text.split(","):
        status = status_from_word(word)
        if status is None:
            words = ", ".join(each.slug for each in Status)
            raise ValueError(f"must be one of {words} (or a provider's word for it)")
        found.add(status)
    return frozenset(found)


def _zone(text: str) -> str:
    if text not in known_zones():
        raise ValueError("must be the name of a time zone, like Europe/Berlin")
    return text


def integer(
    name: str, description: str, *, low: int, high: int, default: Any = None
) -> Parameter[Any]:
    """A whole number between two bounds."""
    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    if default is not None:
        schema["default"] = default
    return Parameter(name, description, schema, _whole_number(low, high), default)


def text(name: str, description: str) -> Parameter[str]:
    """A text of at most 255 characters."""
    return Parameter(
        name, description, {"type": "string", "maxLength": _LIMITS.text}, clean_text, ""
    )


LIMIT: Parameter[int] = integer(
    "limit",
    "How many rows a page has.",
    low=1,
    high=_LIMITS.page_size_max,
    default=_LIMITS.page_size_default,
)
CURSOR: Parameter[str] = Parameter(
    "cursor",
    "Where to go on: `pagination.nextCursor` of the page before. Stable while rows arrive.",
    {"type": "string", "maxLength": 1_000},
    clean_text,
    "",
)
OFFSET: Parameter[int] = Parameter(
    "offset",
    "How many rows to leave out; for deeper pages use `cursor`.",
    {"type": "integer", "minimum": 0, "maximum": _LIMITS.offset_max, "default": 0},
    lambda text: _offset(text),
    0,
)


def _offset(text: str) -> int:
    number = _whole_number(0, _INT64_MAX)(text)
    if number > _LIMITS.offset_max:
        raise ValueError(
            f"may be at most {_LIMITS.offset_max}; to go deeper pass cursor=, "
            "which is pagination.nextCursor of the page before"
        )
    return number


WORKFLOW_ID = text("workflowId", "Only executions of this workflow (its external id).")
WORKFLOW_ID_SNAKE = text("workflow_id", "Only this workflow (its external id).")
ENVIRONMENT_ID: Parameter[int | None] = integer(
    "environment_id",
    "Only this environment; decides when several environments know the same workflow id.",
    low=1,
    high=_INT64_MAX,
)
STATUS: Parameter[frozenset[Status]] = Parameter(
    "status",
    "Only these statuses, separated by commas, in any spelling.",
    {"type": "string", "examples": ["failed", "error", "running,waiting"]},
    parse_statuses,
    frozenset(),
)
_TIME_SCHEMA = {"type": "string", "format": "date-time", "maxLength": times.LONGEST}
START_DATE: Parameter[dt.datetime | None] = Parameter(
    "startDate", "Only executions that began at this time or later.", _TIME_SCHEMA, asked_time, None
)
END_DATE: Parameter[dt.datetime | None] = Parameter(
    "endDate",
    "Only executions that began before this time; a date without a time includes that day.",
    _TIME_SCHEMA,
    _end_time,
    None,
)
START: Parameter[dt.datetime | None] = Parameter(
    "start", "Beginning of the range; goes with `end`.", _TIME_SCHEMA, asked_time, None
)
END: Parameter[dt.datetime | None] = Parameter(
    "end",
    "End of the range (not in it); a date without a time includes that day.",
    _TIME_SCHEMA,
    _end_time,
    None,
)
ZONE: Parameter[str] = Parameter(
    "tz", "Time zone of days (IANA name).", {"type": "string", "default": "UTC"}, _zone, "UTC"
)
SEARCH = text("search", "Only workflows whose name or id contains this text, whatever the case.")


def hours(default: int) -> Parameter[int]:
    """The window in hours."""
    return integer("hours", "How many hours back to look.", low=1, high=24 * 366, default=default)


def clean_id(text: str) -> str | None:
    """An id from a path as it is stored, or None when nothing can have it."""
    return clean_text(text) if 0 < len(text) <= _LIMITS.text else None


TENANT: Parameter[str] = text(
    "tenant",
    "Slug or location id of the tenant: needed by a session of a person in several, "
    "a token may name its own.",
)
