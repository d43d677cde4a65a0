"""Answers: JSON of typed values, the envelope of lists and each document's words for a status."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from django.http import HttpResponse

from monitoring.words import Status

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode

Milliseconds = Annotated[int | None, msgspec.Meta(description="Milliseconds; null when unknown.")]
LostContactAt = Annotated[
    dt.datetime | None,
    msgspec.Meta(
        description="On a running execution that promised heartbeats and fell silent: when it was "
        "heard of last. Else null."
    ),
]
Percent = Annotated[
    Annotated[float, msgspec.Meta(ge=0, le=100)] | None,
    msgspec.Meta(description="0–100; null when nothing was counted."),
]


def json_answer(value: Any, status: int = 200) -> HttpResponse:
    """The answer for a value: a struct, list, dict or JSON that is encoded already (Raw)."""
    return HttpResponse(_encode(value), status=status, content_type="application/json")


class Pagination(msgspec.Struct, rename="camel", omit_defaults=True):
    """Where a page stands in its list."""

    total: Annotated[
        int | None, msgspec.Meta(description="Exact where rollups give it, else null.")
    ]
    limit: int
    offset: int
    has_more: bool
    next_cursor: Annotated[
        str | None, msgspec.Meta(description="Pass it as `cursor`; null at the end.")
    ]
    searched_to: Annotated[
        dt.datetime | None,
        msgspec.Meta(
            description="There when the page is short although the list goes on: "
            "the time back to which was searched."
        ),
    ] = None


class Page(msgspec.Struct, Generic[T]):
    """A page of a list."""

    data: list[T]
    pagination: Pagination


class SuccessPage(msgspec.Struct, Generic[T]):
    """A page of a list with `success`."""

    data: list[T]
    pagination: Pagination
    success: bool = True


class Success(msgspec.Struct, Generic[T]):
    """One thing with `success`."""

    data: T
    success: bool = True


class Done(msgspec.Struct):
    """What an action did."""

    success: bool = True


class Deleted(msgspec.Struct):
    """How many executions a call deleted."""

    deleted: int
    success: bool = True


class ProblemError(msgspec.Struct):
    """One thing wrong: where and what."""

    loc: list[str | int]
    msg: str


class ProblemDocument(msgspec.Struct):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemError]


def words(changes: Mapping[Status, str]) -> Mapping[Status, str]:
    """The word for every status: the canonical one but for `changes`."""
    return {status: changes.get(status, status.slug) for status in Status}


CANONICAL = words({})
"""Words of 000 and 001."""
EDITOR = words({Status.FAILED: "error"})
"""Words of 002."""
AUTOMATION = words({Status.SUCCESS: "completed"})
"""Words of 003."""
OBSERVABILITY = words({Status.FAILED: "error", Status.PARTIAL: "error"})
"""Words of 004."""


def status_schema(spoken: Mapping[Status, str]) -> msgspec.Meta:
    """Description of a status for OpenAPI."""
    return msgspec.Meta(extra_json_schema={"enum": sorted(set(spoken.values()))})


def rounded(value: float | None) -> int | None:
    """Whole milliseconds of a mean or percentile."""
    return None if value is None else round(value)


def percent_of(fraction: float | None) -> float | None:
    """A fraction as a percentage to two digits."""
    return None if fraction is None else round(100 * fraction, 2)
